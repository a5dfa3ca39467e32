"""The pairing by which a dense and a sparse object share requests.

The service answers dense and sparse vectors of a text together at the price of one, but a store
asks one object for its vectors and then the other. The vectors that came along are kept here until
they are requested. A vector that is no longer kept costs another request; it is never another
text's.

Everything here runs on the background loop, so nothing needs a lock, and no interrupt of another
thread comes between two steps.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Generic, Literal, NamedTuple, TypeVar

from qwen_embed.pipeline.call import Call
from qwen_embed.pipeline.collectors import Collector, WrappingCollector
from qwen_embed.protocols.base import ParsedResponse
from qwen_embed.sparse import SparseRow
from qwen_embed.types import TextType

R = TypeVar("R")

Kind = Literal["dense", "sparse"]
OTHER: dict[Kind, Kind] = {"dense": "sparse", "sparse": "dense"}
NodeText = Callable[[str], "str | None"]

CAPACITY = 256 * 1024 * 1024
"""Bytes that the kept vectors of one pair may take, of each kind; the oldest calls go first."""

MOST_NODES = 1_000_000
"""Nodes of LlamaIndex that are told apart; they take some 200 MB. Further ones are not found by
their texts, and cost a request of their own."""

_OVERHEAD = 400  # what keeping one vector costs besides its own bytes
_UNPACKED_AT_A_TIME = 128  # some milliseconds, in which the loop does nothing else


class TextKey(NamedTuple):
    """Names a text in a role, without the text.

    Attributes:
        text: The digest of the text as it is embedded.
        node: The digest of the text of the node that it stands for, where a store may ask by that;
            else `None`.
    """

    text: bytes
    node: bytes | None = None


def key_of(role: TextType, text: str) -> bytes:
    """Return the digest of a text in a role."""
    return _digest(role, text)


def _digest(person: str, text: str) -> bytes:
    return blake2b(text.encode(), digest_size=16, person=person.encode()).digest()


@dataclass(eq=False)
class _KeptCall:
    """The vectors that came along with one call."""

    vectors: set[_Vector] = field(default_factory=set)


@dataclass(eq=False)
class _Vector:
    """One vector, kept as often as its text stood in the call.

    Attributes:
        packed: The vector.
        remaining: How often it may still be claimed.
        claimed: How often it is claimed by calls that have not ended.
        text: Its text's digest.
        call: The call with which it came.
    """

    packed: bytes
    remaining: int
    text: bytes
    call: _KeptCall
    claimed: int = 0


class KeptVectors:
    """Vectors of one kind, kept until they are requested.

    Vectors are kept as bytes, texts as digests.

    Args:
        capacity: Bytes that all may take. Beyond it the oldest calls are forgotten whole, but never
            the newest.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._size = 0
        self._vectors: dict[bytes, list[_Vector]] = {}
        self._documents: dict[bytes, bytes | None] = {}  # by the node's text; None for several
        self._calls: dict[_KeptCall, None] = {}  # in order of age

    def __len__(self) -> int:
        """Return how many vectors are kept."""
        return sum(len(call.vectors) for call in self._calls)

    @property
    def size(self) -> int:
        """Bytes taken, with an allowance for the keeping."""
        return self._size

    def store(self, vectors: Iterable[tuple[bytes, int, bytes]]) -> None:
        """Keep what came along with one call.

        Args:
            vectors: The text's digest, how often the text stood in the call, and the vector.
        """
        call = _KeptCall()
        for text, remaining, packed in list(vectors):  # whatever raises does so before any is kept
            vector = _Vector(packed, remaining, text, call)
            call.vectors.add(vector)
            self._vectors.setdefault(text, []).append(vector)
            self._size += len(packed) + _OVERHEAD
        if call.vectors:
            self._calls[call] = None
        while self._size > self._capacity and len(self._calls) > 1:
            for vector in list(next(iter(self._calls)).vectors):
                self._forget(vector)

    def register(self, keys: Iterable[TextKey]) -> None:
        """Note documents, whether or not their vectors are kept here, by the nodes' texts.

        Once there was another document for a node's text, with other metadata or with none, nobody
        can tell which one is meant, not even when all but one have been delivered.
        """
        for key in keys:
            if key.node is None:
                continue
            if key.node in self._documents:
                if self._documents[key.node] != key.text:
                    self._documents[key.node] = None
            elif len(self._documents) < MOST_NODES:
                self._documents[key.node] = key.text

    def find(self, text: bytes) -> list[_Vector]:
        """Return the vectors of a text, the oldest first."""
        return self._vectors.get(text, [])

    def document_of(self, node: bytes) -> bytes | None:
        """Return the only document that there was for a node's text, or `None`."""
        return self._documents.get(node)

    def settle(self, vector: _Vector, count: int, *, delivered: bool) -> None:
        """End a claim: forget a vector that was delivered, or keep it for the next request."""
        vector.claimed -= count
        if not delivered:
            vector.remaining += count
        elif not vector.remaining and not vector.claimed and vector in vector.call.vectors:
            self._forget(vector)

    def _forget(self, vector: _Vector) -> None:
        vectors = self._vectors[vector.text]
        vectors.remove(vector)
        if not vectors:
            del self._vectors[vector.text]
        self._size -= len(vector.packed) + _OVERHEAD
        vector.call.vectors.remove(vector)
        if not vector.call.vectors:
            del self._calls[vector.call]


class Claim:
    """Vectors set aside for one call until it is known whether the call delivers them.

    Args:
        kept: Where they are kept.
    """

    def __init__(self, kept: KeptVectors) -> None:
        self._kept = kept
        self._claimed: list[tuple[_Vector, int]] = []

    def take(self, text: bytes, count: int = 1) -> bytes | None:
        """Set the vector of a text aside, and return it; `None` where none is kept.

        Args:
            text: The text's digest.
            count: How often the text stands in the call that asks.
        """
        packed = None
        for vector in self._kept.find(text):
            claimed = min(count, vector.remaining)
            if claimed:
                packed = packed or vector.packed
                vector.remaining -= claimed
                vector.claimed += claimed
                self._claimed.append((vector, claimed))
                count -= claimed
            if not count:
                break
        return packed

    def take_of_node(self, node: bytes, count: int = 1) -> bytes | None:
        """Set the vector of the document aside that stands for a node's text, and return it."""
        document = self._kept.document_of(node)
        return None if document is None else self.take(document, count)

    def settle(self, *, delivered: bool) -> None:
        """Forget what was claimed if the call delivered it; keep it for the next call if not."""
        for vector, count in self._claimed:
            self._kept.settle(vector, count, delivered=delivered)
        self._claimed.clear()


class PairedVectors:
    """The vectors that a dense and a sparse object keep for each other.

    Args:
        node_text: Returns the text of the node that a document stands for, or `None` where the
            document is all of it. `None` where nobody asks by the texts of nodes.
        capacity: Bytes that the kept vectors of each kind may take.
    """

    def __init__(self, node_text: NodeText | None = None, capacity: int | None = None) -> None:
        self.kept: Mapping[Kind, KeptVectors] = {
            kind: KeptVectors(CAPACITY if capacity is None else capacity)
            for kind in ("dense", "sparse")
        }
        self.node_text = node_text

    @asynccontextmanager
    async def share(
        self, call: Call, request: PairedRequest, counts: Sequence[int]
    ) -> AsyncIterator[None]:
        """Take what is kept for a call, let it ask for both kinds of the rest, and keep the other.

        Args:
            call: The call, all of whose texts are still to be sent. Within the context those that
                were kept are not.
            request: What the call asks for.
            counts: How often each text of the call was given.
        """
        claim = Claim(self.kept[request.kind])
        delivered = False
        other = OTHER[request.kind]
        both = PairCollector(call.collector, other)
        if request.kind == "dense":
            self.kept["sparse"].register(request.keys)
        try:
            call.indices = await _fill(call.collector, claim, request, counts)
            call.collector = both
            yield
            delivered = not call.failures
        finally:
            claim.settle(delivered=delivered)
            self.kept[other].store(
                (request.keys[index].text, counts[index], vector)
                for index, vector in both.packed.items()
            )


@dataclass(frozen=True)
class PairedRequest:
    """What a call of a pair asks for.

    Attributes:
        kind: The kind of vectors.
        keys: The keys of its texts.
    """

    kind: Kind
    keys: Sequence[TextKey]

    @classmethod
    def of(
        cls,
        kind: Kind,
        texts: Iterable[str],
        role: TextType,
        *,
        of_nodes: bool = False,
        node_text: NodeText | None = None,
    ) -> PairedRequest:
        """Return the request for some texts.

        Args:
            kind: The kind of vectors.
            texts: The texts.
            role: Their role.
            of_nodes: Whether they may be the texts of nodes, as a LlamaIndex store asks for them,
                while the documents that were embedded have metadata too.
            node_text: See `PairedVectors`.
        """
        if of_nodes:
            keys = [TextKey(key_of(role, text), _digest("node", text)) for text in texts]
        elif node_text is not None and kind == "dense" and role == "document":
            keys = [
                TextKey(key_of(role, text), _digest("node", node_text(text) or text))
                for text in texts
            ]
        else:
            keys = [TextKey(key_of(role, text)) for text in texts]
        return cls(kind, keys)


async def _fill(
    collector: Collector[R], claim: Claim, request: PairedRequest, counts: Sequence[int]
) -> list[int]:
    """Collect what is kept, and return the indices of the texts that still have to be sent."""
    claimed: list[tuple[int, bytes]] = []
    missing: list[int] = []
    for index, (key, count) in enumerate(zip(request.keys, counts, strict=True)):
        packed = claim.take(key.text, count)
        if packed is None and request.kind == "sparse" and key.node is not None:
            packed = claim.take_of_node(key.node, count)
        if packed is None:
            missing.append(index)
        else:
            claimed.append((index, packed))
    for start in range(0, len(claimed), _UNPACKED_AT_A_TIME):
        if start:
            await asyncio.sleep(0)
        for index, packed in claimed[start : start + _UNPACKED_AT_A_TIME]:
            collector.put([index], _UNPACK[request.kind](packed))
    return missing


class PairCollector(WrappingCollector[R], Generic[R]):
    """Collects vectors of one kind, and packs those of the other kind beside them.

    Attributes:
        packed: The other vector of each text, by its index.
    """

    def __init__(self, collector: Collector[R], other: Kind) -> None:
        super().__init__(collector)
        self.packed: dict[int, bytes] = {}
        self._other = other

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:
        """Hand the vectors on, and pack those of the other kind."""
        self._collector.put(indices, response)
        packed = (
            [array("d", vector).tobytes() for vector in response.dense]
            if self._other == "dense"
            else [vector.pack() for vector in response.sparse]
        )
        self.packed.update(zip(indices, packed, strict=True))


def _unpack_dense(packed: bytes) -> ParsedResponse:
    row = array("d")
    row.frombytes(packed)
    return ParsedResponse(dense=[row.tolist()], tokens=0, request_id=None)


def _unpack_sparse(packed: bytes) -> ParsedResponse:
    return ParsedResponse(dense=[], tokens=0, request_id=None, sparse=[SparseRow.unpack(packed)])


_UNPACK: dict[Kind, Callable[[bytes], ParsedResponse]] = {
    "dense": _unpack_dense,
    "sparse": _unpack_sparse,
}
