"""Projects an engine's vectors to unit vectors of the requested dimension.

The projection is a discrete cosine transform of shuffled inputs with random signs, of which some
outputs are kept. It is orthonormal and the same on every machine. As a fast transform it needs no
matrix and no BLAS, so a text's vector does not depend on the other texts, to the last bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_TINY = 1e-12


@dataclass(frozen=True)
class _Projection:
    """An orthonormal projection by a transform of the longer of the two dimensions.

    Attributes:
        size: The length of the transform.
        positions: The position of each input in the transform.
        signs: The sign of each input.
        frequencies: The outputs that are kept.
        phases: Factors that turn Fourier coefficients into scaled cosine coefficients.
    """

    size: int
    positions: NDArray[np.intp]
    signs: NDArray[np.float64]
    frequencies: NDArray[np.intp]
    phases: NDArray[np.complex128]


def project(vectors: NDArray[Any], dimension: int, *, seed: int) -> NDArray[np.float32]:
    """Return unit vectors of another length.

    If `dimension` is at least the length of the vectors, cosines are preserved exactly; otherwise
    approximately.

    Args:
        vectors: Shape `(n, base)`, float.
        dimension: The new length, at least 1.
        seed: Selects the projection; vectors of different seeds are not comparable.

    Returns:
        Shape `(n, dimension)`, float32, unit vectors.
    """
    count, base = vectors.shape
    projection = _projection(base, dimension, seed)
    inputs = np.zeros((count, projection.size))
    inputs[:, projection.positions] = vectors * projection.signs
    coefficients = np.fft.fft(inputs)[:, projection.frequencies]
    projected = (coefficients * projection.phases).real
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    unit: NDArray[np.float32] = (projected / np.maximum(lengths, _TINY)).astype(np.float32)
    return unit


@lru_cache(maxsize=64)
def _projection(base: int, dimension: int, seed: int) -> _Projection:
    size = max(base, dimension)
    rng = np.random.default_rng((seed, base, dimension))
    positions = rng.permutation(size)[:base]
    frequencies = rng.permutation(size)[:dimension]
    # With this phase the real part of a Fourier coefficient is the cosine coefficient of the same
    # inputs in another order (Makhoul 1980). The order is random, so it needs no correction.
    scale = np.where(frequencies == 0, np.sqrt(1 / size), np.sqrt(2 / size))
    phases = scale * np.exp(-0.5j * np.pi / size * frequencies)
    return _Projection(size, positions, rng.choice((-1.0, 1.0), size=base), frequencies, phases)
