"""Classifies the characters of a text, vectorised."""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
from numpy.typing import NDArray

BLANK, SYMBOL, CJK, DIGIT, LETTER = range(5)

_CODE_POINTS = 0x110000
_PLANE = 0x10000
_KIND_OF_CATEGORY = {"L": LETTER, "M": LETTER, "N": DIGIT, "Z": BLANK, "P": SYMBOL, "S": SYMBOL}
_CJK_RANGES = (
    (0x3041, 0x3100),  # kana
    (0x3105, 0x3130),  # bopomofo
    (0x31A0, 0x31C0),
    (0x31F0, 0x3200),
    (0x3400, 0x4DC0),  # ideographs
    (0x4E00, 0xA000),
    (0xAC00, 0xD7B0),  # Hangul syllables
    (0xF900, 0xFB00),
    (0x20000, 0x40000),  # ideographs outside the first plane
)


def folded(text: str) -> str:
    """Return a text in lower case, with full-width letters as ASCII."""
    # Normalised first, because NFKC may produce capital letters.
    return unicodedata.normalize("NFKC", text).casefold()


def code_points(text: str) -> NDArray[np.uint32]:
    """Return a text's code points, shape `(len(text),)`."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def kinds(points: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Return the kind of each code point, `BLANK` to `LETTER`, in the same shape.

    `LETTER` is a letter or mark of a script that is not `CJK`; `BLANK` is a space, a control or a
    zero-width character; any other character is a `SYMBOL`.
    """
    kind: NDArray[np.uint8] = _table()[points]
    return kind


def kind_of(character: str) -> int:
    """Return the kind of one character."""
    return _bytes()[ord(character)]


def character_class(*wanted: int) -> str:
    """Return the inside of a regular expression's `[...]` for the wanted kinds."""
    is_member = np.isin(_table(), wanted)
    boundaries = np.flatnonzero(np.diff(is_member, prepend=False, append=False)).tolist()
    ranges = zip(boundaries[0::2], boundaries[1::2], strict=True)
    return "".join(rf"\U{first:08x}-\U{end - 1:08x}" for first, end in ranges)


@cache
def _table() -> NDArray[np.uint8]:
    table = np.full(_CODE_POINTS, SYMBOL, dtype=np.uint8)
    table[:_PLANE] = [
        _KIND_OF_CATEGORY.get(unicodedata.category(chr(point))[0], BLANK) for point in range(_PLANE)
    ]
    for first, end in _CJK_RANGES:
        table[first:end] = CJK
    return table


@cache
def _bytes() -> bytes:
    """Return the table as bytes, which are faster to index for one character."""
    return _table().tobytes()
