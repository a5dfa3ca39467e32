"""Sparse vectors: one by one, as bytes for the cache, and together as `SparseVectors`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, repeat
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MAX_INDEX = 2**32 - 2
"""The largest index that vector stores accept."""


@dataclass(frozen=True)
class SparseRow:
    """One text's sparse vector.

    Attributes:
        indices: Unique and ascending, from 0 to 2**32 - 2.
        values: Finite and not negative, one per index, rounded to float32.
        tokens: The service's token for each index; empty if they are not known.

    Example:
        >>> row = SparseRow(indices=(2, 7), values=(1.0, 0.5), tokens=("the", "wind"))
        >>> dict(zip(row.tokens, row.values))
        {'the': 1.0, 'wind': 0.5}
    """

    indices: tuple[int, ...]
    values: tuple[float, ...]
    tokens: tuple[str, ...] = ()

    def to_dict(self) -> dict[int, float]:
        """Return a dict from index to value, in ascending order of index.

        Example:
            >>> SparseRow(indices=(2, 7), values=(1.0, 0.5)).to_dict()
            {2: 1.0, 7: 0.5}
        """
        return dict(zip(self.indices, self.values, strict=True))

    def to_lists(self) -> tuple[list[int], list[float]]:
        """Return the indices and the values, as two new lists of one length.

        Example:
            >>> SparseRow(indices=(2, 7), values=(1.0, 0.5)).to_lists()
            ([2, 7], [1.0, 0.5])
        """
        return list(self.indices), list(self.values)

    def pack(self) -> bytes:
        """Return indices and values in eight bytes per entry, without the tokens."""
        return (
            np.array(self.indices, dtype=np.uint32).tobytes()
            + np.array(self.values, dtype=np.float32).tobytes()
        )

    @classmethod
    def unpack(cls, packed: bytes) -> SparseRow:
        """Return the vector that `pack` packed, without its tokens."""
        half = len(packed) // 2
        return cls(
            indices=tuple(np.frombuffer(packed[:half], dtype=np.uint32).tolist()),
            values=tuple(np.frombuffer(packed[half:], dtype=np.float32).tolist()),
        )


NO_ENTRIES = SparseRow((), ())
"""The empty vector."""


def merge_entries(entries: Mapping[int, tuple[float, str]]) -> SparseRow:
    """Return the vector with the given entries by index, in ascending order.

    Example:
        >>> merge_entries({7: (0.5, "wind"), 2: (1.0, "the")})
        SparseRow(indices=(2, 7), values=(1.0, 0.5), tokens=('the', 'wind'))
    """
    if not entries:
        return NO_ENTRIES
    indices = sorted(entries)
    values, tokens = zip(*[entries[index] for index in indices], strict=True)
    return SparseRow(tuple(indices), tuple(np.array(values, dtype=np.float32).tolist()), tokens)


@dataclass(frozen=True, eq=False)
class SparseVectors:
    """Sparse vectors as a CSR matrix: row `i` has the entries `indptr[i]` to `indptr[i + 1] - 1`.

    Attributes:
        indptr: int64 array of shape `(n + 1,)`.
        indices: int64 array of shape `(nnz,)`; unique and ascending within a row.
        values: float32 array of shape `(nnz,)`; finite and not negative.
        tokens: The service's token for each entry; an empty string if it sent none.

    Example:
        >>> vectors = SparseVectors.of([SparseRow((2, 7), (1.0, 0.5), ("the", "wind"))])
        >>> vectors.rows()
        [{2: 1.0, 7: 0.5}]
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int64]
    values: NDArray[np.float32]
    tokens: tuple[str, ...]

    @classmethod
    def of(cls, rows: Sequence[SparseRow]) -> SparseVectors:
        """Return a matrix of the given rows, in their order; missing tokens become empty."""
        indptr = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row.indices) for row in rows], out=indptr[1:])
        return cls(
            indptr=indptr,
            indices=np.array([index for row in rows for index in row.indices], dtype=np.int64),
            values=np.array([value for row in rows for value in row.values], dtype=np.float32),
            tokens=tuple(
                token for row in rows for token in (row.tokens or repeat("", len(row.indices)))
            ),
        )

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indptr) - 1

    def __iter__(self) -> Iterator[SparseRow]:
        """Yield each row, as a `SparseRow`."""
        indices, values = self.indices.tolist(), self.values.tolist()
        for start, stop in pairwise(self.indptr.tolist()):
            yield SparseRow(
                tuple(indices[start:stop]), tuple(values[start:stop]), self.tokens[start:stop]
            )

    def rows(self) -> list[dict[int, float]]:
        """Return each row as a dict from index to value, in ascending order of index."""
        return [row.to_dict() for row in self]

    def to_scipy(self, width: int | None = None) -> csr_array[Any]:
        """Return a `scipy.sparse.csr_array` of shape `(n, width)`, float32; needs scipy.

        Args:
            width: The number of columns; by default one more than the largest index. Pass the same
                width for arrays that will be multiplied.

        Raises:
            ImportError: If scipy is not installed.
        """
        from scipy.sparse import csr_array  # noqa: PLC0415 -- an optional dependency

        columns = width or int(self.indices.max(initial=-1)) + 1
        return csr_array((self.values, self.indices, self.indptr), shape=(len(self), columns))
