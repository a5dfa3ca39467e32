"""Where vectors are collected as responses arrive: lists for frameworks, arrays for the core.

Lists are handed on as they were parsed, arrays are filled in place; neither is made from the other.
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
    """Collects the vectors of each response, and returns all of them at the end.

    Attributes:
        arrays: Whether it takes dense vectors as arrays rather than as lists.
    """

    arrays: bool = False

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:
        """Store the vectors of the unique texts at `indices`."""

    def result(self, plan: Plan, dimension: int | None) -> Result_co:
        """Return one vector per text that was given, in that order.

        The vector of a blank text is zeros, or has no entries. That of a text that failed is `None`
        in lists, NaN in an array, and has no entries if sparse.

        Args:
            plan: Which text each vector belongs to.
            dimension: The length of vectors that no response filled.
        """


class WrappingCollector(Collector[R], Generic[R]):
    """Does something with the vectors on their way to another collector.

    Args:
        collector: The other one.
    """

    def __init__(self, collector: Collector[R]) -> None:
        self.arrays = collector.arrays
        self._collector = collector

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:
        """Hand the vectors on."""
        self._collector.put(indices, response)

    def result(self, plan: Plan, dimension: int | None) -> R:
        """Return what the other collector has collected."""
        return self._collector.result(plan, dimension)


class ListCollector(Collector[FloatLists]):
    """Dense vectors as lists of Python floats.

    They are put together at the end: the garbage collector visits every number of a list whenever
    it visits the list, and it visits a list that existed before the call more often.
    """

    def __init__(self, count: int, normalize: bool) -> None:
        self._count = count
        self._responses: list[tuple[Sequence[int], Sequence[list[float]]]] = []
        self._normalize = normalize

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        vectors = cast("Sequence[list[float]]", response.dense)  # as `arrays` says
        if self._normalize:
            vectors = [_unit(vector) for vector in vectors]
        self._responses.append((indices, vectors))

    def result(self, plan: Plan, dimension: int | None) -> FloatLists:  # noqa: D102 -- see Collector
        unique: list[list[float] | None] = [None] * self._count
        for indices, vectors in self._responses:
            for index, arrived in zip(indices, vectors, strict=True):
                unique[index] = arrived
        given = unique
        if plan.sources is not None:
            given = []
            used = [False] * len(unique)
            for source in plan.sources:
                if source < 0:
                    given.append([0.0] * (dimension or 0))
                    continue
                vector = unique[source]
                # A copy, so that changing one vector of the result never changes another.
                given.append(vector.copy() if vector is not None and used[source] else vector)
                used[source] = True
        return given  # type: ignore[return-value]  # None only where an error carries it


class ArrayCollector(Collector[FloatArray]):
    """Dense vectors as one float32 array of shape `(n, dimension)`."""

    arrays = True

    def __init__(self, count: int, normalize: bool) -> None:
        self._count = count
        self._array: FloatArray | None = None
        self._filled = np.zeros(count, dtype=np.bool_)
        self._normalize = normalize

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        if self._array is None:
            self._array = np.empty((self._count, len(response.dense[0])), dtype=np.float32)
        array = self._array
        try:
            with np.errstate(over="raise"):
                for index, vector in zip(indices, response.dense, strict=True):
                    array[index] = vector
        except FloatingPointError:
            message = "The response has a number that float32 cannot hold."
            raise InvalidResponseError(message) from None
        self._filled[indices] = True

    def result(self, plan: Plan, dimension: int | None) -> FloatArray:  # noqa: D102 -- see Collector
        array = self._array
        if array is None:
            array = np.empty((self._count, dimension or 0), dtype=np.float32)
        if not self._filled.all():
            array[~self._filled] = np.nan
        if self._normalize:
            _scale_to_unit(array)
        if plan.sources is None:
            return array
        sources = np.array(plan.sources, dtype=np.intp)
        blank = sources < 0
        given: FloatArray = np.zeros((plan.count, array.shape[1]), dtype=np.float32)
        given[~blank] = array[sources[~blank]]
        return given


class SparseCollector(Collector[SparseVectors]):
    """Sparse vectors."""

    def __init__(self, count: int) -> None:
        self._vectors = [NO_ENTRIES] * count

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        for index, vector in zip(indices, response.sparse, strict=True):
            self._vectors[index] = vector

    def result(self, plan: Plan, _dimension: int | None) -> SparseVectors:  # noqa: D102 -- see Collector
        if plan.sources is None:
            return SparseVectors.of(self._vectors)
        return SparseVectors.of(
            [NO_ENTRIES if source < 0 else self._vectors[source] for source in plan.sources]
        )


class ListAndSparseCollector(Collector[tuple[FloatLists, SparseVectors]]):
    """Dense vectors as lists of Python floats, and sparse vectors."""

    def __init__(self, count: int, normalize: bool) -> None:
        self._dense = ListCollector(count, normalize)
        self._sparse = SparseCollector(count)

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        self._dense.put(indices, response)
        self._sparse.put(indices, response)

    def result(self, plan: Plan, dimension: int | None) -> tuple[FloatLists, SparseVectors]:  # noqa: D102 -- see Collector
        return self._dense.result(plan, dimension), self._sparse.result(plan, dimension)


class ResultCollector(Collector[EmbeddingResult]):
    """What the core returns, before its usage is known."""

    arrays = True

    def __init__(self, count: int, normalize: bool, output: Output) -> None:
        self._dense = ArrayCollector(count, normalize) if output != "sparse" else None
        self._sparse = SparseCollector(count) if output != "dense" else None

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:  # noqa: D102 -- see Collector
        for collector in (self._dense, self._sparse):
            if collector is not None:
                collector.put(indices, response)

    def result(self, plan: Plan, dimension: int | None) -> EmbeddingResult:  # noqa: D102 -- see Collector
        return EmbeddingResult(
            dense=self._dense.result(plan, dimension) if self._dense else None,
            sparse=self._sparse.result(plan, dimension) if self._sparse else None,
            usage=Usage(),
        )


@dataclass(frozen=True)
class OutputFormat(Generic[R]):
    """The form in which a call returns its vectors.

    Attributes:
        output: What is requested for it.
        collector: Makes the collector for so many vectors, dense ones scaled to unit length if the
            second argument is true.
        kind: The kind of vectors that the two objects of a pair share; `None` if they share none.
        of_nodes: Whether the texts may be those of LlamaIndex nodes without their metadata.
    """

    output: Output
    collector: Callable[[int, bool], Collector[R]]
    kind: Literal["dense", "sparse"] | None = None
    of_nodes: bool = False


def _sparse_collector(count: int, _normalize: bool) -> SparseCollector:
    return SparseCollector(count)


LISTS: OutputFormat[FloatLists] = OutputFormat("dense", ListCollector, kind="dense")
SPARSE: OutputFormat[SparseVectors] = OutputFormat("sparse", _sparse_collector, kind="sparse")
SPARSE_OF_NODES: OutputFormat[SparseVectors] = OutputFormat(
    "sparse", _sparse_collector, kind="sparse", of_nodes=True
)
SPARSE_WITH_TOKENS: OutputFormat[SparseVectors] = OutputFormat("sparse", _sparse_collector)
LISTS_AND_SPARSE: OutputFormat[tuple[FloatLists, SparseVectors]] = OutputFormat(
    "dense&sparse", ListAndSparseCollector
)
RESULTS: dict[Output, OutputFormat[EmbeddingResult]] = {
    "dense": OutputFormat("dense", partial(ResultCollector, output="dense")),
    "sparse": OutputFormat("sparse", partial(ResultCollector, output="sparse")),
    "dense&sparse": OutputFormat("dense&sparse", partial(ResultCollector, output="dense&sparse")),
}


def _unit(vector: list[float]) -> list[float]:
    norm = math.hypot(*vector)
    return [value / norm for value in vector] if norm else vector


def _scale_to_unit(array: FloatArray) -> None:
    # In float64: the squares of large numbers overflow float32.
    norms = np.linalg.norm(array.astype(np.float64), axis=1, keepdims=True)
    np.divide(array, norms, out=array, where=norms > 0, casting="same_kind")
