"""The hand-off by which a dense and a sparse object share requests.

The service answers dense and sparse vectors of a text together at the price of one, but a store
asks one object for its half and then the other. The half that came along waits here until it is
asked for. A half that is no longer here costs another request, and is never another text's.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, Literal, TypeVar

from qwen_embed.planner import Plan
from qwen_embed.rows import Rows
from qwen_embed.sparse import SparseRow
from qwen_embed.wire import Answer, TextType

R = TypeVar("R")

Half = Literal["dense", "sparse"]
OTHER: dict[Half, Half] = {"dense": "sparse", "sparse": "dense"}

CAPACITY = 256 * 1024 * 1024
"""Bytes that the waiting halves of one pair may take, of each kind; the oldest calls go first."""

_OVERHEAD = 400  # what keeping one vector costs besides its own bytes


@dataclass(eq=False)
class _Call:
    """The vectors that one call left."""

    waiting: set[_Vector] = field(default_factory=set)


@dataclass(eq=False)
class _Vector:
    """One vector, for as many takings as its text stood in the call."""

    packed: bytes
    takings: int
    keys: tuple[bytes, ...]
    call: _Call


class HandOff:
    """Vectors of one kind that wait to be taken, by role and text.

    Safe to use from threads. Vectors are kept as bytes, texts as digests.

    Args:
        capacity: Bytes that all may take. Beyond it the oldest calls are forgotten whole, but never
            the newest.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._size = 0
        self._vectors: dict[bytes, list[_Vector]] = {}
        self._calls: dict[_Call, None] = {}  # in order of age
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return how many vectors wait."""
        return sum(len(call.waiting) for call in self._calls)

    @property
    def size(self) -> int:
        """Bytes taken, with an allowance for the keeping."""
        return self._size

    def put(self, role: TextType, left: Iterable[tuple[Sequence[str], int, bytes]]) -> None:
        """Leave what one call brought along.

        Args:
            role: The role in which the texts were embedded.
            left: For each vector the texts by which it may be asked for, how often, and its bytes.
        """
        call = _Call()
        with self._lock:
            for texts, takings, packed in left:
                keys = tuple(dict.fromkeys(_key(role, text) for text in texts))
                vector = _Vector(packed, takings, keys, call)
                call.waiting.add(vector)
                for key in keys:
                    self._vectors.setdefault(key, []).append(vector)
                self._size += len(packed) + _OVERHEAD
            if call.waiting:
                self._calls[call] = None
            while self._size > self._capacity and len(self._calls) > 1:
                for vector in list(next(iter(self._calls)).waiting):
                    self._forget(vector)

    def take(self, role: TextType, text: str, takings: int = 1) -> bytes | None:
        """Return a text's vector, the oldest first, and forget it once it was taken often enough.

        Args:
            role: The role in which the text is asked for.
            text: The text.
            takings: How often the text stands in the call that asks.
        """
        with self._lock:
            waiting = self._vectors.get(_key(role, text))
            if not waiting:
                return None
            packed = waiting[0].packed
            for vector in list(waiting):
                taken = min(takings, vector.takings)
                vector.takings -= taken
                takings -= taken
                if vector.takings == 0:
                    self._forget(vector)
                if takings == 0:
                    break
            return packed

    def _forget(self, vector: _Vector) -> None:
        for key in vector.keys:
            waiting = self._vectors[key]
            waiting.remove(vector)
            if not waiting:
                del self._vectors[key]
        self._size -= len(vector.packed) + _OVERHEAD
        vector.call.waiting.remove(vector)
        if not vector.call.waiting:
            del self._calls[vector.call]


def _key(role: TextType, text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16, person=role.encode()).digest()


class Pair:
    """The halves that a dense and a sparse object leave for each other.

    Args:
        capacity: Bytes that the waiting halves of each kind may take.
        also_asked_as: Returns the other texts by which a document's sparse half may be asked for.
    """

    def __init__(
        self,
        capacity: int = CAPACITY,
        also_asked_as: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        self.waiting: Mapping[Half, HandOff] = {
            "dense": HandOff(capacity),
            "sparse": HandOff(capacity),
        }
        self._also_asked_as = also_asked_as

    def take(self, half: Half, role: TextType, plan: Plan, rows: Rows[R]) -> list[int]:
        """Put what waits into rows, and return the indices of the unique texts still to be sent."""
        takings = plan.counts()
        unpack = _UNPACK[half]
        missing = []
        for index, text in enumerate(plan.unique):
            packed = self.waiting[half].take(role, text, takings[index])
            if packed is None:
                missing.append(index)
            else:
                rows.put([index], unpack(packed))
        return missing

    def leave(self, half: Half, role: TextType, plan: Plan, packed: Mapping[int, bytes]) -> None:
        """Leave the halves that came along, by the index of their unique text."""
        takings = plan.counts()
        aliased = half == "sparse" and role == "document"
        self.waiting[half].put(
            role,
            (
                (
                    (plan.unique[index], *self._also_asked_as(plan.unique[index]))
                    if aliased
                    else (plan.unique[index],),
                    takings[index],
                    vector,
                )
                for index, vector in packed.items()
            ),
        )


class RowsAndHalf(Rows[R], Generic[R]):
    """Rows, and beside them the other half of every answer, packed.

    Attributes:
        packed: The other half of each unique text, by its index.
    """

    def __init__(self, rows: Rows[R], half: Half) -> None:
        self.packed: dict[int, bytes] = {}
        self._rows = rows
        self._half = half

    def put(self, indices: Sequence[int], answer: Answer) -> None:
        """Store the rows of the unique texts at `indices`, and pack the other half."""
        self._rows.put(indices, answer)
        packed = (
            [array("d", row).tobytes() for row in answer.dense]
            if self._half == "dense"
            else [row.pack() for row in answer.sparse]
        )
        self.packed.update(zip(indices, packed, strict=True))

    def result(self, plan: Plan, dimension: int | None) -> R:
        """Return the rows."""
        return self._rows.result(plan, dimension)


def _unpack_dense(packed: bytes) -> Answer:
    row = array("d")
    row.frombytes(packed)
    return Answer(dense=[row.tolist()], tokens=0, request_id=None)


def _unpack_sparse(packed: bytes) -> Answer:
    return Answer(dense=[], tokens=0, request_id=None, sparse=[SparseRow.unpack(packed)])


_UNPACK: dict[Half, Callable[[bytes], Answer]] = {
    "dense": _unpack_dense,
    "sparse": _unpack_sparse,
}
