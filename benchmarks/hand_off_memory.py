"""Measures what the hand-off between a dense and a sparse object holds for sparse vectors."""

from __future__ import annotations

import random
import sys
import tracemalloc

from qwen_embed.hybrid import Pair
from qwen_embed.planner import plan_texts
from qwen_embed.rows import SPARSE
from qwen_embed.sparse import SparseRow

TEXTS = 10_000
ENTRIES = 200
VOCABULARY = 250_000
BAR = 40_000_000
"""Bytes that may be held for them."""
CALL = 1_000
"""Texts that a store asks for at a time."""


def packed_rows(count: int) -> dict[int, bytes]:
    """Return sparse rows as the hand-off gets them, by the index of their text."""
    chance = random.Random(0)  # noqa: S311 -- no secret
    return {
        index: SparseRow(
            tuple(sorted(chance.sample(range(VOCABULARY), ENTRIES))),
            tuple(chance.random() for _ in range(ENTRIES)),
        ).pack()
        for index in range(count)
    }


def main() -> int:
    """Fill a hand-off, print what it holds, take all out again, and compare with the bar."""
    plans = [
        plan_texts([f"text {n}" for n in range(start, start + CALL)], empty_text="error")
        for start in range(0, TEXTS, CALL)
    ]
    packed_rows(1)  # loads what is loaded once
    pair = Pair()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for plan in plans:
        pair.leave("sparse", "document", plan, packed_rows(CALL))
    held = tracemalloc.get_traced_memory()[0] - before
    count, counted = len(pair.waiting["sparse"]), pair.waiting["sparse"].size
    for plan in plans:
        missing = pair.take("sparse", "document", plan, SPARSE.rows(CALL, False))
        assert not missing
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    print(f"{count:,} sparse vectors of {ENTRIES} entries wait in {held / 1e6:.1f} MB")
    print(f"  bar: under {BAR / 1e6:.0f} MB; the hand-off itself counts {counted / 1e6:.1f} MB")
    print(f"  {left / 1e6:.1f} MB once all were taken")
    assert count == TEXTS
    return 0 if held < BAR else 1


if __name__ == "__main__":
    sys.exit(main())
