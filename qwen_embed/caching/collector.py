"""Rows from a cache where it has them; what the service answers is kept in it as it arrives."""

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
_OF_BLANK_TEXTS = {"empty_text"}  # which no cache is asked for
_LOOKED_UP_AT_A_TIME = 256
_KEPT_AT_A_TIME = 128


class Cache:
    """The cache of one object.

    Args:
        cache: Where it is.
        options: All that changes a vector, by name.
        dimension: The length of dense rows, or `None` where it is not known.

    Attributes:
        file: What holds the vectors.
    """

    def __init__(
        self, cache: VectorCache, options: Mapping[str, Any], dimension: int | None
    ) -> None:
        self.file: VectorFile = vector_file(cache)
        self._options = options
        self._dimension = dimension

    def collector_of(self, call: Call) -> CachingCollector[Any]:
        """Return what fills a call's rows, and keeps what arrives for it."""
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
    """Names vectors by their text and all else that changes them.

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
        """Return the key of a text: 20 bytes, of which nothing can be read."""
        digest = self._start.copy()
        digest.update(text.encode())
        return digest.digest()


class CachingCollector(WrappingCollector[R], Generic[R]):
    """Takes the rows of each answer, keeps their vectors, and hands them on to other rows.

    Used on the background loop.

    Args:
        rows: The other rows.
        file: Where vectors are kept.
        texts: The texts, each once.
        keys: Names their vectors.
        wanted: The kinds of vectors that a text must have to be answered from the cache.
        dimension: The length of dense rows, or `None` where it is not known.
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
        """Put in what the cache has, and return the indices of the texts still to be sent."""
        missing: list[int] = []
        for start in range(0, len(indices), _LOOKED_UP_AT_A_TIME):
            some = indices[start : start + _LOOKED_UP_AT_A_TIME]
            # The other thread only reads: a call that is cancelled here changes no more.
            hits, answer = await asyncio.wrap_future(
                self._file.reading.submit(self._look_up, some, self._dimension)
            )
            if hits:
                self._collector.put(hits, answer)
                if answer.dense:
                    self._dimension = len(answer.dense[0])
            answered = set(hits)
            missing += [index for index in some if index not in answered]
        return missing

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:
        """Store the rows of the texts at `indices`, and keep their vectors.

        Raises:
            InvalidResponseError: If they have another length than those of the cache.
        """
        found = len(answer.dense[0]) if answer.dense else None
        if found and self._dimension and found != self._dimension:
            raise InvalidResponseError(
                f"The answer has rows of {found} numbers, and the cache such of {self._dimension}: "
                f"say which by `dimension`, or use another cache."
            )
        self._collector.put(indices, answer)
        self._arrived.append((indices, answer))
        if self._writing is not None and not self._writing.done():
            return
        if sum(len(some) for some, _ in self._arrived) >= _KEPT_AT_A_TIME:
            self._write()

    async def save(self) -> None:
        """Wait until all that has arrived is on the disk."""
        if self._arrived:
            self._write()
        if self._writing is not None:
            # What was paid for is written also where nobody waits any more.
            await asyncio.shield(asyncio.wrap_future(self._writing))

    def _look_up(
        self, indices: Sequence[int], dimension: int | None
    ) -> tuple[list[int], ParsedResponse]:
        """Return the indices of the texts that the cache has, and their vectors."""
        keys = {
            kind: [self._keys[kind].of(self._texts[index]) for index in indices]
            for kind in self._wanted
        }
        found = self._file.read([key for some in keys.values() for key in some])
        if dimension is None:
            packed = (found[key] for key in keys.get("dense", ()) if key in found)
            dimension = len(next(packed, b"")) // 4
        hits: list[int] = []
        dense: list[bytes] = []
        sparse: list[bytes] = []
        for place, index in enumerate(indices):
            vectors = {kind: found.get(keys[kind][place]) for kind in self._wanted}
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
        # In this order: whatever interrupts it, what has arrived is written, at worst twice.
        self._writing = self._file.writing.submit(self._keep, self._arrived)
        self._arrived = []

    def _keep(self, arrived: Sequence[tuple[Sequence[int], ParsedResponse]]) -> None:
        self._file.write(
            {
                self._keys[kind].of(self._texts[index]): vector
                for indices, answer in arrived
                for kind, vectors in _pack(answer).items()
                for index, vector in zip(indices, vectors, strict=True)
            }
        )


def _pack(answer: ParsedResponse) -> dict[Kind, list[bytes]]:
    packed: dict[Kind, list[bytes]] = {}
    if answer.sparse:
        packed["sparse"] = [pack_sparse(row) for row in answer.sparse]
    if answer.dense:
        with np.errstate(over="ignore"):
            dense = np.array(answer.dense, dtype="<f4")
        if np.isfinite(dense).all():  # else the numbers are too large for it
            packed["dense"] = [row.tobytes() for row in dense]
    return packed


def unpack_dense(packed: Sequence[bytes], dimension: int, *, arrays: bool) -> Sequence[DenseRow]:
    """Return dense rows that were kept as float32."""
    if not packed:
        return []
    rows = np.frombuffer(b"".join(packed), dtype="<f4").reshape(-1, dimension).astype(np.float64)
    return list(rows) if arrays else rows.tolist()


def pack_sparse(row: SparseRow) -> bytes:
    """Return a sparse row with its tokens: the number of its entries, then these, then the tokens.

    Example:
        >>> row = SparseRow((2, 7), (1.0, 0.5), ("the", "wind"))
        >>> unpack_sparse(pack_sparse(row)) == row
        True
    """
    return struct.pack("<I", len(row.indices)) + row.pack() + msgspec.msgpack.encode(row.tokens)


def unpack_sparse(packed: bytes) -> SparseRow:
    """Return the row that `pack_sparse` packed."""
    (count,) = struct.unpack_from("<I", packed)
    entries = SparseRow.unpack(packed[4 : 4 + 8 * count])
    tokens = msgspec.msgpack.decode(packed[4 + 8 * count :], type=tuple[str, ...])
    return SparseRow(entries.indices, entries.values, tokens)
