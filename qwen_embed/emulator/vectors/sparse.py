"""Sparse vectors: each word of a text is an entry, and rare words have large values.

They need no model, no vocabulary and no state: an entry is a pure function of its word, the word's
count in the text, the text's role and the model family. A word has the same index in queries and
documents, so a query finds documents with its rare words, for example a product code.
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
# How much a word's value grows with its count, at most.
_GROWTH = 0.25
_LARGEST_WEIGHT = _LARGEST_VALUE / (1 + _GROWTH)

_COMMON_WEIGHT = 0.04
_SYMBOL_WEIGHT = 0.03
_CHARACTER_WEIGHT = 0.2
_PAIR_WEIGHT = 0.4
# A pair that contains a common character.
_COMMON_PAIR_WEIGHT = 0.08
_COMMON = COMMON_WORDS | COMMON_PAIRS | COMMON_CHARACTERS

_CACHED_ENTRIES = 1 << 16
_CACHED_WORDS = 1 << 14

_LONG_WORD = 9
_PREFIX_LENGTH = 6
# Joins words into one: product codes, paths, versions, thousands separators.
_JOINER = r"(?:[-_./]|(?<=\d),(?=\d{3}(?!\d)))"
_NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")


class SparseEntry(msgspec.Struct, frozen=True, gc=False):
    """One entry of a sparse vector, in the format of the service.

    Attributes:
        index: The index of the token in the vocabulary.
        value: The weight: above 0, rarely above 1.
        token: A word or a part of one.
    """

    index: int
    value: float
    token: str


SparseEntries = list[SparseEntry]


def sparse_vectors(request: EmbeddingRequest, *, repeat_indices: bool) -> list[SparseEntries]:
    """Return one sparse vector per text, none empty.

    Entries are in the order of the words in the text. An instruction has no effect.

    Args:
        request: The request.
        repeat_indices: Whether some indices of each vector occur twice, once with a smaller value;
            otherwise indices are unique.
    """
    vocabulary = _vocabulary_seed(request.model.name)
    roles = zip(request.texts, request.roles, strict=True)
    vectors = [_sparse_vector(vocabulary, text, role.text_type) for text, role in roles]
    return [_with_repeated_indices(vector) for vector in vectors] if repeat_indices else vectors


def _vocabulary_seed(model: str) -> int:
    """Return the hash seed of a model's vocabulary, which the models of a family share."""
    if model in ("text-embedding-v3", "text-embedding-v4"):
        model = "text-embedding"
    elif model.startswith("qwen3.7"):
        model = "qwen3.7"
    return zlib.crc32(model.encode())


def _sparse_vector(vocabulary: int, text: str, text_type: TextType) -> SparseEntries:
    counts = Counter(_tokens(folded(text)))
    entries = [_entry(vocabulary, token, count, text_type) for token, count in counts.items()]
    if len({entry.index for entry in entries}) == len(entries):
        return entries
    largest: dict[int, SparseEntry] = {}
    for entry in entries:
        if entry.value > largest.setdefault(entry.index, entry).value:
            largest[entry.index] = entry
    return list(largest.values())


def _with_repeated_indices(entries: SparseEntries) -> SparseEntries:
    """Return the entries with every other index repeated, alternately before it and at the end."""
    result, end = [], []
    for position, entry in enumerate(entries):
        smaller = SparseEntry(entry.index, round(entry.value / 2, 4), entry.token)
        if position % 4 == 0:
            result.append(smaller)
        elif position % 4 == 2:
            end.append(smaller)
        result.append(entry)
    return result + end


def _tokens(text: str) -> list[str]:
    """Return the tokens of a folded text in order, with duplicates."""
    tokens: list[str] = []
    for match in _pattern().finditer(text):
        if match.lastgroup == "word":
            tokens += _tokens_of_word(match[0])
        elif match.lastgroup == "cjk":
            tokens += _tokens_of_run(match[0])
        else:
            tokens.append(match[0])
    return tokens


@cache
def _pattern() -> re.Pattern[str]:
    """Return the pattern of a run of CJK characters, a word with its joined words, or a symbol."""
    cjk, symbol = character_class(CJK), character_class(SYMBOL)
    # Bounded, so that a long text without spaces does not become one word.
    word = f"[{character_class(LETTER, DIGIT)}]{{1,64}}"
    return re.compile(
        f"(?P<cjk>[{cjk}]+)|(?P<word>{word}(?:{_JOINER}{word}){{0,8}})|(?P<symbol>[{symbol}])"
    )


def _tokens_of_run(run: str) -> list[str]:
    """Return the characters of a run, each followed by the pair that starts with it.

    Example:
        >>> _tokens_of_run("风急天")
        ['风', '风急', '急', '急天', '天']
    """
    tokens = [""] * (2 * len(run) - 1)
    tokens[0::2] = run
    tokens[1::2] = map(add, run, run[1:])
    return tokens


@lru_cache(maxsize=_CACHED_WORDS)
def _tokens_of_word(word: str) -> tuple[str, ...]:
    """Return a word, the words joined in it, and the prefixes of long ones.

    Example:
        >>> _tokens_of_word("qx-7731b")
        ('qx-7731b', 'qx', '7731b')
    """
    if _NUMBER.fullmatch(word):
        return (word,)
    joined = re.split(_JOINER, word)
    prefixes = [each[:_PREFIX_LENGTH] for each in joined if len(each) >= _LONG_WORD]
    return (word, *(joined if len(joined) > 1 else ()), *prefixes)


@lru_cache(maxsize=_CACHED_ENTRIES)
def _entry(vocabulary: int, token: str, count: int, text_type: TextType) -> SparseEntry:
    index = zlib.crc32(token.encode("utf-8", "surrogatepass"), vocabulary) % VOCABULARY_SIZE
    value = _weight(token) * (1 + _GROWTH * (1 - 1 / count))
    if text_type == "query":
        # As in an asymmetric model, rare words weigh more in a query than in a document.
        value *= 0.6 + 0.4 * value / _LARGEST_VALUE
    return SparseEntry(index, round(value, 4), token)


def _weight(token: str) -> float:
    """Return the weight of a token that occurs once; tokens that look rare weigh more."""
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
