"""The tokens of a text by the Qwen vocabulary, which the official SDK `dashscope` brings along.

The SDK's package serves as a folder that holds the vocabulary's file: it is never imported. The
file is read, and `tiktoken` imported, only when a text has to be counted.
"""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tiktoken import Encoding

PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""What the SDK cuts a text into before it looks for tokens."""

_WINDOW = 50_000
_LARGEST_CLUSTER = 30
_MOST_TOKENS_OF_A_CHARACTER = 12
"""Normalised, a character becomes three of four bytes at most, and a token is a byte at least."""


def vocabulary_file() -> Path | None:
    """Return where the vocabulary is, or `None` where it is not installed."""
    try:
        spec = find_spec("dashscope")
    except (ImportError, ValueError):
        return None
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = (Path(folder) / "resources" / "qwen.tiktoken" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def can_count() -> bool:
    """Return whether all that counting needs is installed; nothing is loaded."""
    try:
        return vocabulary_file() is not None and find_spec("tiktoken") is not None
    except (ImportError, ValueError):
        return False


def surely_fits(text: str, limit: int) -> bool:
    """Return whether a text has no more bytes than `limit`, and so no more tokens.

    Example:
        >>> surely_fits("The wind rises.", 15), surely_fits("风起了。", 11)
        (True, False)
    """
    if len(text) > limit:
        return False
    return text.isascii() or len(_normalized(text).encode()) <= limit


class Tokenizer:
    """Counts the tokens of texts, and cuts texts by them.

    Ids are those of the SDK's tokenizer, but for the written forms of control tokens such as
    `<|endoftext|>`, which are text here. Texts longer than 50,000 characters are counted in windows
    of that length: at each end of one the count may be a token or two off.

    Args:
        encoding: The vocabulary.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, after normalisation to NFC as in the SDK."""
        return self._encoding.encode_ordinary(_normalized(text))

    def count(self, text: str) -> int:
        """Return how many tokens a text has."""
        return sum(len(self.encode(window)) for _, window in _windows(text))

    def split(self, text: str, limit: int) -> Iterator[tuple[str, int]]:
        """Yield a text in parts of at most `limit` tokens, each with how many it has.

        The parts end where tokens end, but never within a character, and joined they are the text.

        Args:
            text: The text.
            limit: At least 12, which is the most that one character can have.
        """
        while text:
            part, tokens = self._first(text, limit)
            yield part, tokens
            text = text[len(part) :]

    def _first(self, text: str, limit: int) -> tuple[str, int]:
        budget = limit
        while budget > 0 and (part := text[: self._length(text, budget)]):
            # Cut off from what follows, its last characters may have tokens of their own.
            tokens = self.count(part)
            if tokens <= limit:
                return part, tokens
            budget -= tokens - limit
        part = text[: limit // _MOST_TOKENS_OF_A_CHARACTER]
        return part, self.count(part)

    def _length(self, text: str, budget: int) -> int:
        """Return how many characters are whole within the first `budget` tokens."""
        for start, window in _windows(text):
            ids = self.encode(window)
            if len(ids) > budget:
                return start + self._whole(window, ids[:budget])
            budget -= len(ids)
        return len(text)

    def _whole(self, text: str, first: list[int]) -> int:
        """Return how many characters of a text its first tokens hold whole."""
        # The bytes are valid but for a character that may be cut off at their end.
        held = len(self._encoding.decode_bytes(first).decode("utf-8", "ignore"))
        if unicodedata.is_normalized("NFC", text):
            return held
        length = 0
        for cluster in _clusters(text):
            held -= len(_normalized(cluster))
            if held < 0:
                break
            length += len(cluster)
        return length


@cache
def load_tokenizer() -> Tokenizer:
    """Return the tokenizer of the Qwen vocabulary.

    Raises:
        ImportError: If `can_count()` is false.
    """
    from tiktoken import Encoding  # noqa: PLC0415 -- needed for long texts only

    file = vocabulary_file()
    if file is None:
        raise ImportError("The Qwen vocabulary, a file of dashscope, is not installed.")
    lines = (line.split() for line in file.read_bytes().splitlines() if line)
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    return Tokenizer(Encoding("qwen", pat_str=PATTERN, mergeable_ranks=ranks, special_tokens={}))


def _normalized(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _windows(text: str) -> Iterator[tuple[int, str]]:
    for start in range(0, len(text), _WINDOW):
        yield start, text[start : start + _WINDOW]


def _clusters(text: str) -> Iterator[str]:
    """Yield what normalisation joins with nothing else: a character and the marks that follow.

    More marks than any language has are cut, lest one cluster be longer than a part may be.
    """
    start = 0
    for index in range(1, len(text)):
        if not _joins(text[index]) or index - start == _LARGEST_CLUSTER:
            yield text[start:index]
            start = index
    yield text[start:]


def _joins(character: str) -> bool:
    """Return whether a character may become one with what stands before it."""
    is_jamo = "\u1160" <= character <= "\u11ff"  # of Hangul: vowels and final consonants
    return is_jamo or unicodedata.category(character).startswith("M")
