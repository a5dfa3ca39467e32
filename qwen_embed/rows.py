"""Where rows are gathered as answers arrive: lists of floats for frameworks, an array for the core.

Lists are handed through as they were parsed; arrays are filled in place. Neither is made from the
other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from qwen_embed.planner import Plan

Result_co = TypeVar("Result_co", covariant=True)
FloatArray = NDArray[np.float32]


class Rows(Protocol, Generic[Result_co]):
    """Takes the rows of each answer, and gives them all at the end."""

    def put(self, indices: Sequence[int], rows: Sequence[list[float]]) -> None:
        """Store the rows of the unique texts at `indices`."""

    def result(self, plan: Plan, dimension: int | None) -> Result_co:
        """Return one row for each text that was given, in that order.

        A blank text's row is zeros; a text whose row never came gets `None` or NaN.

        Args:
            plan: Which text every row belongs to.
            dimension: The length of rows that no answer filled.
        """


class ListRows(Rows[list[list[float]]]):
    """Rows as lists of Python floats."""

    def __init__(self, count: int, normalize: bool) -> None:
        self._rows: list[list[float] | None] = [None] * count
        self._normalize = normalize

    def put(self, indices: Sequence[int], rows: Sequence[list[float]]) -> None:  # noqa: D102 -- see Rows
        for index, row in zip(indices, rows, strict=True):
            self._rows[index] = _unit(row) if self._normalize else row

    def result(self, plan: Plan, dimension: int | None) -> list[list[float]]:  # noqa: D102 -- see Rows
        rows = self._rows
        if plan.sources is not None:
            rows = []
            used = [False] * len(self._rows)
            for source in plan.sources:
                row = [0.0] * (dimension or 0) if source < 0 else self._rows[source]
                # A copy, so that changing one row of the result never changes another.
                rows.append(row.copy() if row is not None and source >= 0 and used[source] else row)
                if source >= 0:
                    used[source] = True
        return rows  # type: ignore[return-value]  # None only where PartialFailureError carries it


class ArrayRows(Rows[FloatArray]):
    """Rows as one float32 array of shape `(n, dimension)`."""

    def __init__(self, count: int, normalize: bool) -> None:
        self._count = count
        self._array: FloatArray | None = None
        self._normalize = normalize

    def put(self, indices: Sequence[int], rows: Sequence[list[float]]) -> None:  # noqa: D102 -- see Rows
        if self._array is None:
            self._array = np.full((self._count, len(rows[0])), np.nan, dtype=np.float32)
        for index, row in zip(indices, rows, strict=True):
            self._array[index] = row

    def result(self, plan: Plan, dimension: int | None) -> FloatArray:  # noqa: D102 -- see Rows
        array = self._array
        if array is None:
            array = np.full((self._count, dimension or 0), np.nan, dtype=np.float32)
        if self._normalize:
            norms = np.linalg.norm(array, axis=1, keepdims=True)
            np.divide(array, norms, out=array, where=norms > 0)
        if plan.sources is None:
            return array
        zeros = np.zeros((1, array.shape[1]), dtype=np.float32)
        return np.concatenate((array, zeros))[plan.sources]


def _unit(row: list[float]) -> list[float]:
    norm = math.hypot(*row)
    return [value / norm for value in row] if norm else row
