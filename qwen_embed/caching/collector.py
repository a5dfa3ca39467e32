"""Fills a call's vectors from the cache and stores those that arrive from the service."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from hashlib import blake2b
from typing import Any, Generic, Literal, TypeVar

import msgspec
import numpy as np

from qwen_embed.caching.store import VectorFile, vector_file
from qwen_embed.config.vector_cache import VectorCache
from qwen_embed.errors import InvalidResponseError
from qwen_embed.pipeline.call import Call
from qwen_embed.pipeline.collectors import Collector, WrappingCollector
from qwen_embed.protocols.base import DenseRow, ParsedResponse
from qwen_embed.sparse import SparseRow
from qwen_embed.types import Output, TextType

R = TypeVar("R")

Kind = Literal["dense", "sparse"]

_KINDS: dict[Output, tuple[Kind, ...]] = {
    "dense": ("dense",),
    "sparse": ("sparse",),
    "dense&sparse": ("dense", "sparse"),
}
_OF_QUERIES = {"instruct", "query_template"}
_OF_BLANK_TEXTS = {"empty_text"}  # which are never looked up
_LOOKUP_BATCH = 256
_STORE_BATCH = 128


class Cache:
    """The cache of one object.

    Args:
        cache: The folder and its maximum size.
        options: The options that change a vector, by name.
        dimension: The dimension of dense vectors, or `None` if not known.

    Attributes:
        file: The file of vectors.
    """

    def __init__(
        self, cache: VectorCache, options: Mapping[str, Any], dimension: int | None
    ) -> None:
        self.file: VectorFile = vector_file(cache)
        self._options = options
        self._dimension = dimension

    def collector_for(self, call: Call) -> CachingCollector[Any]:
        """Return a collector that fills a call from the cache and stores what arrives for it."""
        return CachingCollector(
            call.collector,
            self.file,
            texts=call.texts,
            keys={
                kind: Keys(self._options, call.parameters.text_type, kind)
                for kind in _KINDS["dense&sparse"]
            },
            wanted=_KINDS[call.parameters.output],
            dimension=self._dimension,
        )


class Keys:
    """Derives the key of a vector from its text and everything else that changes it.

    Args:
        options: The options that change a vector, by name.
        text_type: The role of the texts.
        kind: The kind of vectors.

    Example:
        >>> options = {"model": "text-embedding-v4", "instruct": "Find the wind"}
        >>> keys = Keys(options, "document", "dense")
        >>> keys.of("a") == Keys({**options, "instruct": "Find it"}, "document", "dense").of("a")
        True
        >>> keys.of("a") == Keys(options, "query", "dense").of("a")
        False
    """

    def __init__(self, options: Mapping[str, Any], text_type: TextType, kind: Kind) -> None:
        ignored = _OF_BLANK_TEXTS | (_OF_QUERIES if text_type == "document" else set())
        named = {name: value for name, value in options.items() if name not in ignored}
        parts = json.dumps([named, text_type, kind], sort_keys=True)
        self._start = blake2b(digest_size=20, key=blake2b(parts.encode(), digest_size=32).digest())

    def of(self, text: str) -> bytes:
        """Return the key of a text: 20 bytes that do not reveal the text."""
        digest = self._start.copy()
        digest.update(text.encode())
        return digest.digest()


class CachingCollector(WrappingCollector[R], Generic[R]):
    """Stores the vectors of each response in the cache and passes them to another collector.

    Used on the background loop.

    Args:
        rows: The other collector.
        file: The file of vectors.
        texts: The unique texts.
        keys: Derives the keys of their vectors, by kind.
        wanted: The kinds of vectors that a text needs to count as cached.
        dimension: The dimension of dense vectors, or `None` if not known.
    """

    def __init__(
        self,
        rows: Collector[R],
        file: VectorFile,
        *,
        texts: Sequence[str],
        keys: Mapping[Kind, Keys],
        wanted: Sequence[Kind],
        dimension: int | None,
    ) -> None:
        super().__init__(rows)
        self._file = file
        self._texts = texts
        self._keys = keys
        self._wanted = wanted
        self._dimension = dimension
        self._arrived: list[tuple[Sequence[int], ParsedResponse]] = []
        self._writing: Future[None] | None = None

    async def fill(self, indices: Sequence[int]) -> list[int]:
        """Put the cached vectors into the result and return the indices of the other texts."""
        missing: list[int] = []
        for start in range(0, len(indices), _LOOKUP_BATCH):
            batch = indices[start : start + _LOOKUP_BATCH]
            # The other thread only reads, so a call cancelled here changes nothing any more.
            hits, vectors = await asyncio.wrap_future(
                self._file.reading.submit(self._look_up, batch, self._dimension)
            )
            if hits:
                self._collector.put(hits, vectors)
                if vectors.dense:
                    self._dimension = len(vectors.dense[0])
            cached = set(hits)
            missing += [index for index in batch if index not in cached]
        return missing

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:
        """Collect the vectors of the texts at `indices` and store them in the cache.

        Raises:
            InvalidResponseError: If their dimension is not that of the cached vectors.
        """
        found = len(answer.dense[0]) if answer.dense else None
        if found and self._dimension and found != self._dimension:
            raise InvalidResponseError(
                f"The response has vectors of {found} dimensions, the cache has vectors of "
                f"{self._dimension}: set `dimension`, or use another cache."
            )
        self._collector.put(indices, answer)
        self._arrived.append((indices, answer))
        if self._writing is not None and not self._writing.done():
            return
        if sum(len(each) for each, _ in self._arrived) >= _STORE_BATCH:
            self._write()

    async def save(self) -> None:
        """Wait until everything that has arrived is written."""
        if self._arrived:
            self._write()
        if self._writing is not None:
            # Shielded: vectors that were paid for are written even if the call is cancelled.
            await asyncio.shield(asyncio.wrap_future(self._writing))

    def _look_up(
        self, indices: Sequence[int], dimension: int | None
    ) -> tuple[list[int], ParsedResponse]:
        """Return the indices of the cached texts and their vectors."""
        keys = {
            kind: [self._keys[kind].of(self._texts[index]) for index in indices]
            for kind in self._wanted
        }
        found = self._file.read([key for each in keys.values() for key in each])
        if dimension is None:
            packed = (found[key] for key in keys.get("dense", ()) if key in found)
            dimension = len(next(packed, b"")) // 4
        hits: list[int] = []
        dense: list[bytes] = []
        sparse: list[bytes] = []
        for position, index in enumerate(indices):
            vectors = {kind: found.get(keys[kind][position]) for kind in self._wanted}
            dense_vector, sparse_vector = vectors.get("dense"), vectors.get("sparse")
            if None in vectors.values():
                continue
            if dense_vector is not None:
                if len(dense_vector) != 4 * dimension:
                    continue
                dense.append(dense_vector)
            if sparse_vector is not None:
                sparse.append(sparse_vector)
            hits.append(index)
        return hits, ParsedResponse(
            dense=unpack_dense(dense, dimension, arrays=self.arrays),
            sparse=[unpack_sparse(packed) for packed in sparse],
            tokens=0,
            request_id=None,
        )

    def _write(self) -> None:
        # In this order, an interrupt loses nothing; at worst vectors are written twice.
        self._writing = self._file.writing.submit(self._store, self._arrived)
        self._arrived = []

    def _store(self, arrived: Sequence[tuple[Sequence[int], ParsedResponse]]) -> None:
        self._file.write(
            {
                self._keys[kind].of(self._texts[index]): vector
                for indices, response in arrived
                for kind, vectors in _pack(response).items()
                for index, vector in zip(indices, vectors, strict=True)
            }
        )


def _pack(response: ParsedResponse) -> dict[Kind, list[bytes]]:
    packed: dict[Kind, list[bytes]] = {}
    if response.sparse:
        packed["sparse"] = [pack_sparse(row) for row in response.sparse]
    if response.dense:
        with np.errstate(over="ignore"):
            dense = np.array(response.dense, dtype="<f4")
        if np.isfinite(dense).all():  # otherwise they are outside the range of float32
            packed["dense"] = [row.tobytes() for row in dense]
    return packed


def unpack_dense(packed: Sequence[bytes], dimension: int, *, arrays: bool) -> Sequence[DenseRow]:
    """Return dense vectors that were stored as float32."""
    if not packed:
        return []
    rows = np.frombuffer(b"".join(packed), dtype="<f4").reshape(-1, dimension).astype(np.float64)
    return list(rows) if arrays else rows.tolist()


def pack_sparse(row: SparseRow) -> bytes:
    """Return a sparse vector as bytes: the number of its entries, the entries, and the tokens.

    Example:
        >>> row = SparseRow((2, 7), (1.0, 0.5), ("the", "wind"))
        >>> unpack_sparse(pack_sparse(row)) == row
        True
    """
    return struct.pack("<I", len(row.indices)) + row.pack() + msgspec.msgpack.encode(row.tokens)


def unpack_sparse(packed: bytes) -> SparseRow:
    """Return the sparse vector that `pack_sparse` packed."""
    (count,) = struct.unpack_from("<I", packed)
    entries = SparseRow.unpack(packed[4 : 4 + 8 * count])
    tokens = msgspec.msgpack.decode(packed[4 + 8 * count :], type=tuple[str, ...])
    return SparseRow(entries.indices, entries.values, tokens)
