"""The answers of the examples' stub chat model: a sentence of the passages, and its source."""

import re
from collections import Counter
from itertools import pairwise

PASSAGE = re.compile(r"^\[(\S+)\] (.+)$", re.MULTILINE)
SENTENCE_END = re.compile(r"(?<=[.!?])['\"]?\s+|(?<=[。！？])[’”」]?")


def quote(prompt: str) -> str:
    """Return the sentence that shares most words with the question, and its source.

    Rare words count more. Chinese is compared by pairs of characters.

    Args:
        prompt: A line `[source] text` for each passage, then `Question: ` and the question.
    """
    before, _, question = prompt.rpartition("Question: ")
    sentences = [
        (sentence, source)
        for source, text in PASSAGE.findall(before)
        for sentence in SENTENCE_END.split(text)
    ]
    counts = Counter(word for sentence, _ in sentences for word in words(sentence))
    asked = words(question)

    def score(candidate: tuple[str, str]) -> float:
        return sum(1 / counts[word] for word in asked & words(candidate[0]))

    best = max(sentences, key=score, default=("", ""))
    return f"{best[0].strip()} [{best[1]}]" if score(best) else "I do not know."


def words(text: str) -> set[str]:
    """Return the words of more than three letters, and the pairs of Chinese characters."""
    chinese = re.findall(r"[\u4e00-\u9fff]+", text)
    pairs = {a + b for run in chinese for a, b in pairwise(run)}
    return pairs | set(re.findall(r"[a-z]{4,}", text.lower()))
