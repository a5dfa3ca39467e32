"""What the core's calls return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_embed.usage import Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SparseVectors:
    """Sparse rows in the form of a CSR matrix: row `i` is `indptr[i]` up to `indptr[i + 1]`.

    Attributes:
        indptr: int64 array of shape `(n + 1,)`.
        indices: int64 array of shape `(nnz,)`, unique and ascending within a row.
        values: float32 array of shape `(nnz,)`.
        tokens: The service's token for each entry.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    tokens: tuple[str, ...]


@dataclass(frozen=True)
class EmbeddingResult:
    """Vectors, one row a text, in the order of the texts.

    Attributes:
        dense: float32 array of shape `(n, dimension)`, or `None` where none was asked for.
        sparse: The sparse rows, or `None` where none were asked for.
        usage: What the call used.
    """

    dense: NDArray[np.float32] | None
    sparse: SparseVectors | None
    usage: Usage
