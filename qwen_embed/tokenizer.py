"""Counts tokens with the Qwen vocabulary, a file of the official SDK `dashscope`.

The SDK is never imported; only its file is read. That, and the import of `tiktoken`, happens when
the first text has to be counted.
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
"""The pieces into which the SDK splits a text before it looks for tokens."""

_WINDOW = 50_000
_MAX_CLUSTER = 30
_MAX_TOKENS_PER_CHARACTER = 12
"""Normalization turns a character into at most three of four bytes each; a token has at least one
byte."""


def vocabulary_file() -> Path | None:
    """Return the path of the vocabulary, or `None` if it is not installed."""
    try:
        spec = find_spec("dashscope")
    except (ImportError, ValueError):
        return None
    folders = (spec.submodule_search_locations if spec else None) or ()
    files = (Path(folder) / "resources" / "qwen.tiktoken" for folder in folders)
    return next((file for file in files if file.is_file()), None)


def can_count() -> bool:
    """Return whether the vocabulary and `tiktoken` are installed; loads neither."""
    try:
        return vocabulary_file() is not None and find_spec("tiktoken") is not None
    except (ImportError, ValueError):
        return False


def surely_fits(text: str, limit: int) -> bool:
    """Return whether a text has at most `limit` bytes and therefore at most `limit` tokens.

    Example:
        >>> surely_fits("The wind rises.", 15), surely_fits("风起了。", 11)
        (True, False)
    """
    if len(text) > limit:
        return False
    return text.isascii() or len(_normalized(text).encode()) <= limit


class Tokenizer:
    """Counts the tokens of texts and splits texts into chunks.

    Ids are those of the SDK's tokenizer, except that the written forms of control tokens, such as
    `<|endoftext|>`, are ordinary text here. Texts longer than 50,000 characters are counted in
    windows of that length; at each boundary the count may be off by one or two tokens.

    Args:
        encoding: The vocabulary.
    """

    def __init__(self, encoding: Encoding) -> None:
        self._encoding = encoding

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text's tokens, after normalization to NFC as in the SDK."""
        return self._encoding.encode_ordinary(_normalized(text))

    def count(self, text: str) -> int:
        """Return the number of tokens of a text."""
        return sum(len(self.encode(window)) for _, window in _windows(text))

    def split(self, text: str, limit: int) -> Iterator[tuple[str, int]]:
        """Yield chunks of at most `limit` tokens, each with its number of tokens.

        Chunks end at the boundary of a token, but never within a character. Joined they are the
        text.

        Args:
            text: The text.
            limit: Maximum tokens per chunk, at least 12: a single character may have as many.
        """
        while text:
            chunk, tokens = self._first_chunk(text, limit)
            yield chunk, tokens
            text = text[len(chunk) :]

    def _first_chunk(self, text: str, limit: int) -> tuple[str, int]:
        budget = limit
        while budget > 0 and (chunk := text[: self._length(text, budget)]):
            # Without the text that follows, the last characters may have other tokens.
            tokens = self.count(chunk)
            if tokens <= limit:
                return chunk, tokens
            budget -= tokens - limit
        chunk = text[: limit // _MAX_TOKENS_PER_CHARACTER]
        return chunk, self.count(chunk)

    def _length(self, text: str, budget: int) -> int:
        """Return how many characters are complete within the first `budget` tokens."""
        for start, window in _windows(text):
            ids = self.encode(window)
            if len(ids) > budget:
                return start + self._complete(window, ids[:budget])
            budget -= len(ids)
        return len(text)

    def _complete(self, text: str, first: list[int]) -> int:
        """Return how many characters of a text are complete in its first tokens."""
        # The bytes are valid, except that the last character may be incomplete.
        remaining = len(self._encoding.decode_bytes(first).decode("utf-8", "ignore"))
        if unicodedata.is_normalized("NFC", text):
            return remaining
        length = 0
        for cluster in _clusters(text):
            remaining -= len(_normalized(cluster))
            if remaining < 0:
                break
            length += len(cluster)
        return length


@cache
def load_tokenizer() -> Tokenizer:
    """Return the tokenizer of the Qwen vocabulary.

    Raises:
        ImportError: If `can_count()` returns `False`.
    """
    from tiktoken import Encoding  # noqa: PLC0415 -- only long texts need it

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
    """Yield each character with the marks that follow it, which normalization may join to it.

    Longer series of marks than any language has are split, so that a cluster always fits into a
    chunk.
    """
    start = 0
    for index in range(1, len(text)):
        if not _joins(text[index]) or index - start == _MAX_CLUSTER:
            yield text[start:index]
            start = index
    yield text[start:]


def _joins(character: str) -> bool:
    """Return whether normalization may join a character to the one before it."""
    is_jamo = "\u1160" <= character <= "\u11ff"  # of Hangul: vowels and final consonants
    return is_jamo or unicodedata.category(character).startswith("M")
