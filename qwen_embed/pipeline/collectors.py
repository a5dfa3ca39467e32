"""Where rows are gathered as answers arrive: lists of floats for frameworks, arrays for the core.

Lists are handed through as they were parsed; arrays are filled in place. Neither is made from the
other.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from qwen_embed.errors import InvalidResponseError
from qwen_embed.pipeline.plan import Plan
from qwen_embed.protocols.base import ParsedResponse
from qwen_embed.results import EmbeddingResult
from qwen_embed.sparse import NO_ENTRIES, SparseVectors
from qwen_embed.types import Output
from qwen_embed.usage import Usage

R = TypeVar("R")
Result_co = TypeVar("Result_co", covariant=True)
FloatArray = NDArray[np.float32]
FloatLists = list[list[float]]


class Collector(Protocol, Generic[Result_co]):
    """Takes the rows of each answer, and gives them all at the end.

    Attributes:
        arrays: Whether it takes dense rows as arrays rather than lists.
    """

    arrays: bool = False

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:
        """Store the rows of the unique texts at `indices`."""

    def result(self, plan: Plan, dimension: int | None) -> Result_co:
        """Return one row for each text that was given, in that order.

        A blank text's row is zeros, or has no entries. The row of a text that failed is `None` in
        lists, NaN in an array, and has no entries in sparse vectors.

        Args:
            plan: Which text every row belongs to.
            dimension: The length of rows that no answer filled.
        """


class ListCollector(Collector[FloatLists]):
    """Rows as lists of Python floats.

    They are put together at the end: the garbage collector walks through a list's every number
    whenever it meets the list, and meets those that a list from before the call holds more often.
    """

    def __init__(self, count: int, normalize: bool) -> None:
        self._count = count
        self._answered: list[tuple[Sequence[int], Sequence[list[float]]]] = []
        self._normalize = normalize

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        rows = cast("Sequence[list[float]]", answer.dense)  # as `arrays` says
        self._answered.append((indices, [_unit(row) for row in rows] if self._normalize else rows))

    def result(self, plan: Plan, dimension: int | None) -> FloatLists:  # noqa: D102 -- see Collector
        unique: list[list[float] | None] = [None] * self._count
        for indices, answered in self._answered:
            for index, answered_row in zip(indices, answered, strict=True):
                unique[index] = answered_row
        rows = unique
        if plan.sources is not None:
            rows = []
            used = [False] * len(unique)
            for source in plan.sources:
                row = [0.0] * (dimension or 0) if source < 0 else unique[source]
                # A copy, so that changing one row of the result never changes another.
                rows.append(row.copy() if row is not None and source >= 0 and used[source] else row)
                if source >= 0:
                    used[source] = True
        return rows  # type: ignore[return-value]  # None only where an error carries it


class ArrayCollector(Collector[FloatArray]):
    """Rows as one float32 array of shape `(n, dimension)`."""

    arrays = True

    def __init__(self, count: int, normalize: bool) -> None:
        self._count = count
        self._array: FloatArray | None = None
        self._filled = np.zeros(count, dtype=np.bool_)
        self._normalize = normalize

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        if self._array is None:
            self._array = np.empty((self._count, len(answer.dense[0])), dtype=np.float32)
        array = self._array
        try:
            with np.errstate(over="raise"):
                for index, row in zip(indices, answer.dense, strict=True):
                    array[index] = row
        except FloatingPointError:
            message = "The answer has a number that float32 cannot hold."
            raise InvalidResponseError(message) from None
        self._filled[indices] = True

    def result(self, plan: Plan, dimension: int | None) -> FloatArray:  # noqa: D102 -- see Collector
        array = self._array
        if array is None:
            array = np.empty((self._count, dimension or 0), dtype=np.float32)
        if not self._filled.all():
            array[~self._filled] = np.nan
        if self._normalize:
            norms = np.linalg.norm(array, axis=1, keepdims=True)
            np.divide(array, norms, out=array, where=norms > 0)
        if plan.sources is None:
            return array
        zeros = np.zeros((1, array.shape[1]), dtype=np.float32)
        return np.concatenate((array, zeros))[plan.sources]


class SparseCollector(Collector[SparseVectors]):
    """Sparse rows."""

    def __init__(self, count: int, normalize: bool) -> None:
        del normalize  # a matter of dense rows
        # The last stands for blank texts, which have no entries: plans name them by -1.
        self._rows = [NO_ENTRIES] * (count + 1)

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:  # noqa: D102 -- see Rows
        for index, row in zip(indices, answer.sparse, strict=True):
            self._rows[index] = row

    def result(self, plan: Plan, dimension: int | None) -> SparseVectors:  # noqa: D102 -- see Collector
        del dimension
        sources = range(len(plan.unique)) if plan.sources is None else plan.sources
        return SparseVectors.of([self._rows[source] for source in sources])


class ListAndSparseCollector(Collector[tuple[FloatLists, SparseVectors]]):
    """Rows as lists of Python floats, and sparse rows."""

    def __init__(self, count: int, normalize: bool) -> None:
        self._dense = ListCollector(count, normalize)
        self._sparse = SparseCollector(count, normalize)

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        self._dense.put(indices, answer)
        self._sparse.put(indices, answer)

    def result(self, plan: Plan, dimension: int | None) -> tuple[FloatLists, SparseVectors]:  # noqa: D102 -- see Collector
        return self._dense.result(plan, dimension), self._sparse.result(plan, dimension)


class ResultCollector(Collector[EmbeddingResult]):
    """What the core returns, still without its usage."""

    def __init__(self, count: int, normalize: bool, output: Output) -> None:
        self.arrays = True
        self._dense = ArrayCollector(count, normalize) if output != "sparse" else None
        self._sparse = SparseCollector(count, normalize) if output != "dense" else None

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:  # noqa: D102 -- see Rows
        for rows in (self._dense, self._sparse):
            if rows is not None:
                rows.put(indices, answer)

    def result(self, plan: Plan, dimension: int | None) -> EmbeddingResult:  # noqa: D102 -- see Collector
        return EmbeddingResult(
            dense=self._dense.result(plan, dimension) if self._dense else None,
            sparse=self._sparse.result(plan, dimension) if self._sparse else None,
            usage=Usage(),
        )


@dataclass(frozen=True)
class OutputFormat(Generic[R]):
    """A form that rows may take.

    Attributes:
        output: What is asked of the service for it.
        rows: Makes what gathers so many rows; dense ones at unit length where the second says so.
        kind: The kind of vectors that a pair shares; `None` where it takes no part in pairing.
        nodes: Whether the texts may be those of LlamaIndex nodes without their metadata.
    """

    output: Output
    rows: Callable[[int, bool], Collector[R]]
    kind: Literal["dense", "sparse"] | None = None
    nodes: bool = False


LISTS: OutputFormat[FloatLists] = OutputFormat("dense", ListCollector, kind="dense")
SPARSE: OutputFormat[SparseVectors] = OutputFormat("sparse", SparseCollector, kind="sparse")
SPARSE_OF_NODES: OutputFormat[SparseVectors] = OutputFormat(
    "sparse", SparseCollector, kind="sparse", nodes=True
)
SPARSE_WITH_TOKENS: OutputFormat[SparseVectors] = OutputFormat("sparse", SparseCollector)
LISTS_AND_SPARSE: OutputFormat[tuple[FloatLists, SparseVectors]] = OutputFormat(
    "dense&sparse", ListAndSparseCollector
)
RESULTS: dict[Output, OutputFormat[EmbeddingResult]] = {
    "dense": OutputFormat("dense", partial(ResultCollector, output="dense")),
    "sparse": OutputFormat("sparse", partial(ResultCollector, output="sparse")),
    "dense&sparse": OutputFormat("dense&sparse", partial(ResultCollector, output="dense&sparse")),
}


def _unit(row: list[float]) -> list[float]:
    norm = math.hypot(*row)
    return [value / norm for value in row] if norm else row
