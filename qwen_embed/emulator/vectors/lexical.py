"""The default engine: hashed words and n-grams, so that texts with similar words are close.

It needs no model, no download and no state: a vector is a pure function of the text, the same in
every process. Every feature (a word, a 3-gram or 4-gram of its letters, one or two ideographs, a
symbol) is hashed to one of 1,023 axes and a sign. The last axis distinguishes queries from
documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.dialects.request import TextType
from qwen_embed.emulator.vectors.characters import CJK, DIGIT, SYMBOL, code_points, folded, kinds
from qwen_embed.emulator.vectors.common_words import COMMON_CHARACTERS, COMMON_WORDS

_Floats = NDArray[np.float64]
_Hashes = NDArray[np.uint64]

_DIMENSION = 1024
_QUERY_AXIS = _DIMENSION - 1
_QUERY_SHARE = 0.3
_INSTRUCT_SHARE = 0.2

# The top 8 bits of a feature's key are the number of its text within the chunk.
_TEXTS_PER_CHUNK = 256
_CHARACTERS_PER_CHUNK = 1 << 16
_HASH_BITS = 56

_STEP = 0x9E3779B97F4A7C15 | 1
_STEP_BACK = pow(_STEP, -1, 1 << 64)
_MULTIPLIER = np.uint64(0xD6E8FEB86659FD93)
_BASE = tuple(np.uint64(pow(_STEP, power, 1 << 64)) for power in range(4))
_SALTS = {
    name: np.uint64(number * 0xA24BAED4963EE407 % (1 << 64))
    for number, name in enumerate(("word", "three", "four", "ideograph", "pair", "symbol"), start=1)
}
_BLANK_POINT = np.uint32(ord(" "))

_WORD_WEIGHT_OF_LENGTH = np.array([0.0, 0.3, 0.4, 0.8, 1.0])
_COMMON_WEIGHT = 0.1
_GRAM_WEIGHT = 0.25
_IDEOGRAPH_WEIGHT = 0.4
_SYMBOL_WEIGHT = 0.1


class LexicalEngine:
    """Embeds by words and character n-grams, in any language.

    Attributes:
        dimension: The length of its vectors, 1024.

    Example:
        >>> vectors = LexicalEngine().embed(["a cat"], text_type="document", instruct=None)
        >>> vectors.shape
        (1, 1024)
    """

    dimension: int = _DIMENSION

    def embed(self, texts: Sequence[str], *, text_type: TextType, instruct: str | None) -> _Floats:
        """Return one unit vector per text, shape `(len(texts), 1024)`, float64.

        A text ranks documents the same as a query and as a document, because queries differ only on
        an axis that no document uses. An instruction adds some of its words to each query.
        """
        vectors = _document_vectors(texts)
        if text_type == "document":
            return vectors
        if instruct and instruct.strip():
            vectors = _unit(vectors + _INSTRUCT_SHARE * _document_vectors([instruct]))
        vectors *= np.sqrt(1 - _QUERY_SHARE**2)
        vectors[:, _QUERY_AXIS] = _QUERY_SHARE
        return vectors


def _document_vectors(texts: Sequence[str]) -> _Floats:
    if not texts:
        return np.zeros((0, _DIMENSION))
    chunks = _chunks([folded(text) for text in texts])
    return np.concatenate([_chunk_vectors(chunk) for chunk in chunks])


def _chunks(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    start = characters = 0
    for end, text in enumerate(texts):
        full = end - start == _TEXTS_PER_CHUNK or characters + len(text) > _CHARACTERS_PER_CHUNK
        if full and end > start:
            yield texts[start:end]
            start, characters = end, 0
        characters += len(text)
    yield texts[start:]


def _chunk_vectors(texts: Sequence[str]) -> _Floats:
    """Return the unit vectors of a few texts, all at once to save numpy calls."""
    points = code_points(f" {' '.join(texts)} ")
    lengths = np.fromiter((len(text) + 1 for text in texts), dtype=np.intp, count=len(texts))
    lengths[0] += 1
    owners = np.repeat(np.arange(len(texts), dtype=np.uint64), lengths)
    positions, hashes, weights = _features(points)
    keys = (owners[positions] << np.uint64(_HASH_BITS)) | (hashes >> np.uint64(64 - _HASH_BITS))
    order = np.argsort(keys, kind="stable")
    keys, weights = keys[order], weights[order]
    firsts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))[: len(keys)]
    if not len(firsts):
        return _unit(np.zeros((len(texts), _DIMENSION)))
    counts = np.diff(np.append(firsts, len(keys)))
    # A feature's weight is its mean weight, growing with the logarithm of its count.
    values = np.add.reduceat(weights, firsts) / counts * (1 + np.log(counts))
    keys = keys[firsts]
    # Axis and sign use separate bits, so that they are independent of each other and of the text.
    axes = ((keys & np.uint64(0xFFFFFFFF)) % np.uint64(_QUERY_AXIS)).astype(np.intp)
    signs = np.where(keys & np.uint64(1 << 40), values, -values)
    cells = (keys >> np.uint64(_HASH_BITS)).astype(np.intp) * _DIMENSION + axes
    sums = np.bincount(cells, weights=signs, minlength=len(texts) * _DIMENSION)
    return _unit(sums.astype(np.float64, copy=False).reshape(len(texts), _DIMENSION))


def _features(points: NDArray[np.uint32]) -> tuple[NDArray[np.intp], _Hashes, _Floats]:
    """Return each feature's position, hash and weight; `points` must start and end blank."""
    kind = kinds(points)
    is_word = kind >= DIGIT
    # Only letters and digits count, so that "word," and "word" share their n-grams.
    letters = _mixed(np.where(is_word, points, _BLANK_POINT))
    starts, ends, words = _words(is_word, letters)
    word_weights = _WORD_WEIGHT_OF_LENGTH[np.minimum(ends - starts, 4)]
    word_weights[_is_among(words, _common_words())] = _COMMON_WEIGHT
    positions, hashes, weights = [starts], [words ^ _SALTS["word"]], [word_weights]

    weight_at = np.zeros(len(points))
    weight_at[is_word] = np.repeat(word_weights, ends - starts)
    three = np.flatnonzero(is_word)
    four = np.flatnonzero(is_word[:-1] & is_word[1:])
    for name, middle, width in (("three", three, 3), ("four", four, 4)):
        grams = letters[middle - 1]
        for offset in range(1, width):
            grams = grams + letters[middle - 1 + offset] * _BASE[offset]
        positions.append(middle)
        hashes.append(grams ^ _SALTS[name])
        weights.append(weight_at[middle] * _GRAM_WEIGHT)

    single = np.flatnonzero((kind == CJK) | (kind == SYMBOL))
    if len(single):
        is_ideograph = kind[single] == CJK
        symbols, ideographs = single[~is_ideograph], single[is_ideograph]
        codes = _mixed(points[ideographs])
        common = _is_among(points[ideographs], _common_characters())
        significance = np.where(common, _COMMON_WEIGHT, 1.0)
        adjacent = np.flatnonzero(np.diff(ideographs) == 1)
        positions += [symbols, ideographs, ideographs[adjacent]]
        hashes += [
            _mixed(points[symbols]) ^ _SALTS["symbol"],
            codes ^ _SALTS["ideograph"],
            (codes[adjacent] + codes[adjacent + 1] * _BASE[1]) ^ _SALTS["pair"],
        ]
        weights += [
            np.full(len(symbols), _SYMBOL_WEIGHT),
            significance * _IDEOGRAPH_WEIGHT,
            np.sqrt(significance[adjacent] * significance[adjacent + 1]),
        ]
    return np.concatenate(positions), _mixed(np.concatenate(hashes)), np.concatenate(weights)


def _words(
    is_word: NDArray[np.bool_], letters: _Hashes
) -> tuple[NDArray[np.intp], NDArray[np.intp], _Hashes]:
    """Return each word's start, end and hash, which is independent of the word's position."""
    boundaries = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    starts, ends = boundaries[0::2], boundaries[1::2]
    powers, powers_back = _powers(1 << len(letters).bit_length())
    prefix = np.zeros(len(letters) + 1, dtype=np.uint64)
    np.cumsum(letters * powers[: len(letters)], out=prefix[1:])
    return starts, ends, (prefix[ends] - prefix[starts]) * powers_back[starts]


@lru_cache(maxsize=4)
def _powers(count: int) -> tuple[_Hashes, _Hashes]:
    """Return the first powers of the step and of its inverse modulo 2**64."""

    def powers_of(base: int) -> _Hashes:
        factors = np.full(count, base, dtype=np.uint64)
        factors[0] = 1
        return np.cumprod(factors)

    return powers_of(_STEP), powers_of(_STEP_BACK)


def _mixed(numbers: NDArray[np.uint32] | _Hashes) -> _Hashes:
    """Return 64-bit hashes of numbers, well mixed down to the low bits."""
    mixed: _Hashes = (numbers.astype(np.uint64) + np.uint64(1)) * _MULTIPLIER
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MULTIPLIER
    mixed ^= mixed >> np.uint64(29)
    return mixed


@lru_cache(maxsize=1)
def _common_words() -> _Hashes:
    points = code_points(f" {' '.join(COMMON_WORDS)} ")
    is_word = kinds(points) >= DIGIT
    return np.unique(_words(is_word, _mixed(np.where(is_word, points, _BLANK_POINT)))[2])


@lru_cache(maxsize=1)
def _common_characters() -> NDArray[np.uint32]:
    return np.unique(code_points("".join(COMMON_CHARACTERS)))


def _is_among(values: NDArray[Any], ascending: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which values are in an ascending array; ten times faster than `np.isin` for few."""
    indices = np.searchsorted(ascending, values)
    is_among: NDArray[np.bool_] = ascending.take(indices, mode="clip") == values
    return is_among


def _unit(vectors: _Floats) -> _Floats:
    """Return unit vectors; a zero vector becomes the unit vector of the query axis."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors / np.where(norms > 0, norms, 1.0)
    vectors[norms[:, 0] == 0, _QUERY_AXIS] = 1.0
    return vectors
