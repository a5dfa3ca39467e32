"""How many tokens a text has, about."""

from __future__ import annotations

import numpy as np

from qwen_embed.emulator.vectors.characters import BLANK, LETTER, code_points, kinds

_LETTERS_PER_TOKEN = 4


def count_tokens(text: str) -> int:
    """Return about how many Qwen tokens a text has.

    An approximation that needs no vocabulary: a CJK character, a digit and a punctuation mark are
    one token each; a run of other letters is one token for every four letters begun; blanks are
    none. So an empty text and one of blanks alone have 0.

    Example:
        >>> count_tokens("Embedding 风急天高, 2026!")
        13
    """
    if not text:
        return 0
    kind = kinds(code_points(text))
    letters = np.zeros(len(kind) + 2, dtype=np.int8)
    letters[1:-1] = kind == LETTER
    edges = np.flatnonzero(np.diff(letters))
    runs = edges[1::2] - edges[0::2]
    pieces = np.sum(-(-runs // _LETTERS_PER_TOKEN))
    singles = np.count_nonzero((kind != LETTER) & (kind != BLANK))
    return int(pieces + singles)
