"""Estimates how many tokens a text has."""

from __future__ import annotations

import numpy as np

from qwen_embed.emulator.vectors.characters import BLANK, LETTER, code_points, kinds

_LETTERS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """Return an estimate of how many Qwen tokens a text has.

    It needs no vocabulary: each CJK character, digit and punctuation mark is one token; other
    letters are one token per four letters of a word, rounded up; whitespace is none. An empty or
    blank text therefore has 0 tokens.

    Example:
        >>> count_tokens("Embedding 风急天高, 2026!")
        13
    """
    if not text:
        return 0
    kind = kinds(code_points(text))
    letters = np.zeros(len(kind) + 2, dtype=np.int8)
    letters[1:-1] = kind == LETTER
    boundaries = np.flatnonzero(np.diff(letters))
    word_lengths = boundaries[1::2] - boundaries[0::2]
    word_tokens = np.sum(-(-word_lengths // _LETTERS_PER_TOKEN))
    other_tokens = np.count_nonzero((kind != LETTER) & (kind != BLANK))
    return int(word_tokens + other_tokens)
