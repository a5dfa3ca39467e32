"""Measures the memory of the sparse vectors that a pair keeps until they are requested."""

from __future__ import annotations

import random
import sys
import tracemalloc

from qwen_embed.pipeline.pairing import Claim, KeptVectors, TextKey, key_of
from qwen_embed.sparse import SparseRow

TEXTS = 10_000
ENTRIES = 200
VOCABULARY = 250_000
TARGET = 40_000_000
"""Maximum bytes."""
CALL = 1_000
"""Texts per call of a store."""


def packed_vectors(count: int) -> list[bytes]:
    """Return sparse vectors in the form in which they are kept."""
    chance = random.Random(0)  # noqa: S311 -- not for security
    return [
        SparseRow(
            tuple(sorted(chance.sample(range(VOCABULARY), ENTRIES))),
            tuple(chance.random() for _ in range(ENTRIES)),
        ).pack()
        for _ in range(count)
    ]


def keys(start: int) -> list[TextKey]:
    """Return the keys of one call's texts; each stands for a LlamaIndex node."""
    texts = [f"text {n}" for n in range(start, start + CALL)]
    return [TextKey(key_of("document", text), key_of("query", text)) for text in texts]


def main() -> int:
    """Keep vectors, print the memory they take, take all of them, and compare with the target."""
    packed_vectors(1)  # so that imports are not measured
    kept = KeptVectors()
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for start in range(0, TEXTS, CALL):
        kept.register(keys(start))
        kept.store(
            (key.text, 1, packed)
            for key, packed in zip(keys(start), packed_vectors(CALL), strict=True)
        )
    held = tracemalloc.get_traced_memory()[0] - before
    count, counted = len(kept), kept.size
    claim = Claim(kept)
    for start in range(0, TEXTS, CALL):
        assert all(claim.take(key.text) for key in keys(start))
    claim.settle(delivered=True)
    left = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()

    print(f"{count:,} sparse vectors of {ENTRIES} entries are kept in {held / 1e6:.1f} MB")
    print(f"  target: under {TARGET / 1e6:.0f} MB; the pair itself counts {counted / 1e6:.1f} MB")
    print(f"  {left / 1e6:.1f} MB once all were taken")
    assert count == TEXTS
    return 0 if held < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
