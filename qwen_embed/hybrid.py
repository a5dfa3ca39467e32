"""The hand-off by which a dense and a sparse object share requests.

The service answers dense and sparse vectors of a text together at the price of one, but a store
asks one object for its half and then the other. The half that came along waits here until it is
asked for. A half that is no longer here costs another request, and is never another text's.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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

    def put(self, left: Iterable[tuple[Iterable[bytes], int, bytes]]) -> None:
        """Leave what one call brought along.

        Args:
            left: For each vector the keys by which it may be asked for, the first of which is its
                own; how often; and its bytes.
        """
        call = _Call()
        with self._lock:
            for keys, takings, packed in left:
                vector = _Vector(packed, takings, tuple(dict.fromkeys(keys)), call)
                call.waiting.add(vector)
                for key in vector.keys:
                    self._vectors.setdefault(key, []).append(vector)
                self._size += len(packed) + _OVERHEAD
            if call.waiting:
                self._calls[call] = None
            while self._size > self._capacity and len(self._calls) > 1:
                for vector in list(next(iter(self._calls)).waiting):
                    self._forget(vector)

    def take(self, key: bytes, takings: int = 1) -> bytes | None:
        """Return a vector, the oldest first, and forget it once it was taken often enough.

        Where different vectors wait under one key, nobody knows which is meant, and none is given.

        Args:
            key: One of the keys under which it was left.
            takings: How often its text stands in the call that asks.
        """
        with self._lock:
            waiting = self._vectors.get(key)
            if not waiting or any(vector.keys[0] != waiting[0].keys[0] for vector in waiting):
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


def key_of(role: TextType | Literal["node"], text: str) -> bytes:
    """Return the key of a text in a role.

    Args:
        role: The role in which it is embedded; or `node` for what a LlamaIndex node is without its
            metadata, where the document that is embedded has them.
        text: The text.
    """
    return blake2b(text.encode(), digest_size=16, person=role.encode()).digest()


class Pair:
    """The halves that a dense and a sparse object leave for each other.

    Args:
        capacity: Bytes that the waiting halves of each kind may take.
        node_text: Returns the text of the node that a document stands for, or `None`; see `key_of`.
    """

    def __init__(
        self,
        capacity: int = CAPACITY,
        node_text: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self.waiting: Mapping[Half, HandOff] = {
            "dense": HandOff(capacity),
            "sparse": HandOff(capacity),
        }
        self._node_text = node_text

    def take(
        self, half: Half, role: TextType, plan: Plan, rows: Rows[R], *, nodes: bool = False
    ) -> list[int]:
        """Put what waits into rows, and return the indices of the unique texts still to be sent.

        Args:
            half: The half that is asked for.
            role: The role of the texts.
            plan: The texts.
            rows: Where the halves go.
            nodes: Whether the texts may be those of nodes.
        """
        waiting = self.waiting[half]
        missing = []
        for index, (text, takings) in enumerate(zip(plan.unique, plan.counts(), strict=True)):
            packed = waiting.take(key_of(role, text), takings)
            if packed is None and nodes:
                packed = waiting.take(key_of("node", text), takings)
            if packed is None:
                missing.append(index)
            else:
                rows.put([index], _UNPACK[half](packed))
        return missing

    def leave(self, half: Half, role: TextType, plan: Plan, packed: Mapping[int, bytes]) -> None:
        """Leave the halves that came along, by the index of their unique text."""
        takings = plan.counts()
        self.waiting[half].put(
            (self._keys(half, role, plan.unique[index]), takings[index], vector)
            for index, vector in packed.items()
        )

    def _keys(self, half: Half, role: TextType, text: str) -> Iterator[bytes]:
        yield key_of(role, text)
        if half == "sparse" and role == "document":
            node_text = self._node_text(text)
            if node_text is not None:
                yield key_of("node", node_text)


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
