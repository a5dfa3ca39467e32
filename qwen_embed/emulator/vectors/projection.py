"""How vectors of an engine's own length become unit vectors of the length that was asked for.

The map is a discrete cosine transform of shuffled inputs with random signs, cut to some of its
outputs. It is orthonormal and the same on every machine. As a fast transform it needs no matrix and
no BLAS, so a text's vector is the same to the last bit whatever texts are beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-12


@dataclass(frozen=True)
class _Map:
    """An orthonormal map from one length to another, by a transform of the longer.

    Attributes:
        size: The length of the transform.
        places: Where each input goes.
        signs: The sign of each input.
        frequencies: Which outputs are kept.
        turns: What turns each output kept from a Fourier into a scaled cosine coefficient.
    """

    size: int
    places: NDArray[np.intp]
    signs: NDArray[np.float64]
    frequencies: NDArray[np.intp]
    turns: NDArray[np.complex128]


def project(vectors: NDArray[Any], dimension: int, *, seed: int) -> NDArray[np.float32]:
    """Return unit rows of another length.

    Where `dimension` is at least the length the vectors have, the map is isometric, so cosines
    survive it; below that it is an orthonormal projection, and cosines survive about.

    Args:
        vectors: Shape `(n, base)`, float.
        dimension: The length wanted, at least 1.
        seed: Which of the maps: vectors made with different seeds are not comparable.

    Returns:
        Shape `(n, dimension)`, float32, each row of unit length.
    """
    rows, base = vectors.shape
    chosen = _map(base, dimension, seed)
    placed = np.zeros((rows, chosen.size))
    placed[:, chosen.places] = vectors * chosen.signs
    kept = np.fft.fft(placed)[:, chosen.frequencies]
    projected = (kept * chosen.turns).real
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (projected / np.maximum(lengths, _TINY)).astype(np.float32)
    return unit


@lru_cache(maxsize=64)
def _map(base: int, dimension: int, seed: int) -> _Map:
    size = max(base, dimension)
    rng = np.random.default_rng((seed, base, dimension))
    places = rng.permutation(size)[:base]
    frequencies = rng.permutation(size)[:dimension]
    # The real part of a Fourier coefficient turned so is the cosine coefficient of the same numbers
    # in another order (Makhoul 1980); as the order is random, it need not be put right.
    scale = np.where(frequencies == 0, np.sqrt(1 / size), np.sqrt(2 / size))
    turns = scale * np.exp(-0.5j * np.pi / size * frequencies)
    return _Map(size, places, rng.choice((-1.0, 1.0), size=base), frequencies, turns)
