"""The texts that examples read, questions about two books, and how results are printed."""

import json
import unicodedata
from pathlib import Path
from typing import Any, NamedTuple

TEXTS = Path(__file__).parents[1] / "data"
COLUMNS = 100

Hits = list[tuple[str, dict[str, str], float]]
"""Passages found, best first: text, metadata, and score."""


class Question(NamedTuple):
    """A question about the passages.

    Attributes:
        text: The question itself.
        answer: Words of the passage that answers it.
        language: The language of the passages to search, if it is not the question's own. All
            passages are searched if it is `None`.
    """

    text: str
    answer: str
    language: str | None = None


QUESTIONS = [
    Question("Who stole the tarts?", "The Knave of Hearts, he stole those tarts"),
    Question("What remained of the cat after it had vanished?", "ending with the grin"),
    Question("闰土怎样在雪地里捕鸟？", "我扫出一块空地来"),
    Question("孔乙己偷了谁家的东西被打断了腿？", "竟偷到丁举人家里去了"),
    Question("How does the boy catch birds in the snow?", "我扫出一块空地来", "zh"),
    Question("公爵夫人的猫为什么总是咧着嘴笑？", "'It's a Cheshire cat,' said the Duchess", "en"),
]
CHAPTERS_OF_ANSWERS = ("Chapter VI.", "Chapter XI.", "孔乙己", "故乡")


def read(name: str) -> list[dict[str, Any]]:
    """Return the records of a file in `data`, named without its suffix."""
    lines = (TEXTS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read_passages(*chapters: str) -> tuple[list[str], list[dict[str, str]]]:
    """Return texts and the metadata of each: id, language, work, author and chapter.

    Args:
        chapters: Beginnings of the titles of the chapters to read; all chapters if omitted.
    """
    passages = read("passages")
    passages = [passage for passage in passages if passage["chapter"].startswith(chapters or "")]
    return [passage.pop("text") for passage in passages], passages


def read_products() -> tuple[list[str], list[dict[str, str]]]:
    """Return the texts of the catalogue of parts and the metadata of each."""
    products = read("products")
    return [product.pop("text") for product in products], products


def show(title: str, hits: Hits, answer: str) -> None:
    """Print passages: rank, score, id, source, and a line of the text, from the answer if present.

    An asterisk marks a passage that contains the answer.
    """
    print(f"\n{title}")
    for rank, (text, about, score) in enumerate(hits, start=1):
        mark = "*" if answer in text else " "
        print(f" {mark}{rank}. {score:.3f}  {about['id']}  {about['work']}, {about['chapter']}")
        start = max(text.find(answer), 0)
        print(" " * 11, shorten(("... " if start else "") + text[start:], COLUMNS - 12))


def shorten(text: str, columns: int) -> str:
    """Return as much of a text as fits into columns; a Chinese character takes two."""
    used = 0
    for end, character in enumerate(text):
        used += 2 if unicodedata.east_asian_width(character) in "WFA" else 1
        if used > columns:
            return text[:end]
    return text
