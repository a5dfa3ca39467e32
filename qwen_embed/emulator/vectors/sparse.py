"""Sparse vectors: the words of a text as entries, the rarer a word looks the larger its value.

No model, no vocabulary, no state: an entry is a pure function of its word, how often the text has
it, the text's role and the family of the model. A word is the same index for queries and documents,
so a query finds the documents that hold its rare words, such as a product code.
"""

from __future__ import annotations

import re
import zlib
from collections import Counter
from functools import cache, lru_cache
from operator import add

import msgspec

from qwen_embed.emulator.dialects.request import EmbeddingRequest, TextType
from qwen_embed.emulator.vectors.characters import (
    CJK,
    DIGIT,
    LETTER,
    SYMBOL,
    character_class,
    folded,
    kind_of,
)
from qwen_embed.emulator.vectors.common_words import COMMON_CHARACTERS, COMMON_PAIRS, COMMON_WORDS

VOCABULARY_SIZE = 250_000

_LARGEST_VALUE = 1.05
# A word that is there very often has a value so much larger than one that is there once.
_GROWTH = 0.25
_LARGEST_WEIGHT = _LARGEST_VALUE / (1 + _GROWTH)

_COMMON_WEIGHT = 0.04
_SYMBOL_WEIGHT = 0.03
_CHARACTER_WEIGHT = 0.2
_PAIR_WEIGHT = 0.4
# With a common character in it.
_COMMON_PAIR_WEIGHT = 0.08
_COMMON = COMMON_WORDS | COMMON_PAIRS | COMMON_CHARACTERS

_CACHED_ENTRIES = 1 << 16
_CACHED_WORDS = 1 << 14

_LONG_WORD = 9
_BEGINNING = 6
# What joins words into one: product codes, paths, versions; and the comma of thousands.
_JOINT = r"(?:[-_./]|(?<=\d),(?=\d{3}(?!\d)))"
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


class SparseEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a sparse vector, as the service prints it.

    Attributes:
        index: The token's number in the vocabulary.
        value: Above 0, seldom above 1.
        token: The word or the piece of one.
    """

    index: int
    value: float
    token: str


SparseEntries = list[SparseEntry]


def sparse_vectors(request: EmbeddingRequest, *, repeat_indices: bool) -> list[SparseEntries]:
    """Return the sparse rows that answer a request, one a text, none empty.

    Entries come in the order in which a text has their words. An instruction changes nothing.

    Args:
        request: The request.
        repeat_indices: Whether some indices of each row come twice, one of them with a smaller
            value; otherwise no row has an index twice.
    """
    vocabulary = _vocabulary_of(request.model.name)
    roles = zip(request.texts, request.roles, strict=True)
    rows = [_row(vocabulary, text, role.text_type) for text, role in roles]
    return [_with_repeats(row) for row in rows] if repeat_indices else rows


def _vocabulary_of(model: str) -> int:
    """Return what the hashes of a model's words start from: models of a family share it."""
    if model in ("text-embedding-v3", "text-embedding-v4"):
        model = "text-embedding"
    elif model.startswith("qwen3.7"):
        model = "qwen3.7"
    return zlib.crc32(model.encode())


def _row(vocabulary: int, text: str, text_type: TextType) -> SparseEntries:
    counts = Counter(_pieces(folded(text)))
    row = [_entry(vocabulary, token, count, text_type) for token, count in counts.items()]
    if len({entry.index for entry in row}) == len(row):
        return row
    largest: dict[int, SparseEntry] = {}
    for entry in row:
        if entry.value > largest.setdefault(entry.index, entry).value:
            largest[entry.index] = entry
    return list(largest.values())


def _with_repeats(row: SparseEntries) -> SparseEntries:
    """Return a row with every other entry repeated: right before it and at the end by turns."""
    repeated, behind = [], []
    for place, entry in enumerate(row):
        smaller = SparseEntry(entry.index, round(entry.value / 2, 4), entry.token)
        if place % 4 == 0:
            repeated.append(smaller)
        elif place % 4 == 2:
            behind.append(smaller)
        repeated.append(entry)
    return repeated + behind


def _pieces(text: str) -> list[str]:
    """Return the tokens of a folded text, repetitions included, in order."""
    pieces: list[str] = []
    for found in _pattern().finditer(text):
        if found.lastgroup == "word":
            pieces += _pieces_of_word(found[0])
        elif found.lastgroup == "cjk":
            pieces += _pieces_of_run(found[0])
        else:
            pieces.append(found[0])
    return pieces


@cache
def _pattern() -> re.Pattern[str]:
    """Return what matches a run of CJK characters, a word with those joined to it, or a symbol."""
    cjk, symbol = character_class(CJK), character_class(SYMBOL)
    # Bounded, so that a text without blanks is not a word as long as itself.
    word = f"[{character_class(LETTER, DIGIT)}]{{1,64}}"
    return re.compile(
        f"(?P<cjk>[{cjk}]+)|(?P<word>{word}(?:{_JOINT}{word}){{0,8}})|(?P<symbol>[{symbol}])"
    )


def _pieces_of_run(run: str) -> list[str]:
    """Return the characters of a run, each followed by the pair that it begins.

    Example:
        >>> _pieces_of_run("风急天")
        ['风', '风急', '急', '急天', '天']
    """
    pieces = [""] * (2 * len(run) - 1)
    pieces[0::2] = run
    pieces[1::2] = map(add, run, run[1:])
    return pieces


@lru_cache(maxsize=_CACHED_WORDS)
def _pieces_of_word(word: str) -> tuple[str, ...]:
    """Return a word, the words that are joined in it, and the beginnings of the long ones.

    Example:
        >>> _pieces_of_word("qx-7731b")
        ('qx-7731b', 'qx', '7731b')
    """
    if _NUMBER.fullmatch(word):
        return (word,)
    parts = re.split(_JOINT, word)
    beginnings = [part[:_BEGINNING] for part in parts if len(part) >= _LONG_WORD]
    return (word, *(parts if len(parts) > 1 else ()), *beginnings)


@lru_cache(maxsize=_CACHED_ENTRIES)
def _entry(vocabulary: int, token: str, count: int, text_type: TextType) -> SparseEntry:
    index = zlib.crc32(token.encode("utf-8", "surrogatepass"), vocabulary) % VOCABULARY_SIZE
    value = _weight(token) * (1 + _GROWTH * (1 - 1 / count))
    if text_type == "query":
        # As with an asymmetric model: a query leans more on its rare words than a document does.
        value *= 0.6 + 0.4 * value / _LARGEST_VALUE
    return SparseEntry(index, round(value, 4), token)


def _weight(token: str) -> float:
    """Return the weight of a token that a text has once: the rarer it looks, the larger."""
    if token in _COMMON:
        return _COMMON_WEIGHT
    kind = kind_of(token[0])
    if kind == CJK:
        if not COMMON_CHARACTERS.isdisjoint(token):
            return _COMMON_PAIR_WEIGHT
        return _CHARACTER_WEIGHT if len(token) == 1 else _PAIR_WEIGHT
    if kind == SYMBOL:
        return _SYMBOL_WEIGHT
    return _weight_of_word(token)


def _weight_of_word(word: str) -> float:
    if not any(map(str.isdigit, word)):
        return min(0.1 + 0.04 * len(word), 0.5)
    if not any(map(str.isalpha, word)):
        return min(0.15 + 0.08 * len(word), 0.6)
    return min(0.36 + 0.08 * len(word), _LARGEST_WEIGHT)
