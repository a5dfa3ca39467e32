"""Texts longer than the model's limit: the chunks sent instead, and the one vector of each text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from qwen_embed.errors import RequestError
from qwen_embed.pipeline.call import Call
from qwen_embed.pipeline.collectors import Collector, WrappingCollector
from qwen_embed.protocols.base import DenseRow, ParsedResponse
from qwen_embed.sparse import SparseRow, merge_entries
from qwen_embed.tokenizer import load_tokenizer, surely_fits

R = TypeVar("R")

Chunk = tuple[str, int]
"""What is sent instead of a text, or of a longer chunk, and its number of tokens."""


@dataclass(frozen=True)
class TextSplitter:
    """Splits texts that are too long into chunks.

    Attributes:
        limit: Maximum tokens of one text that the model accepts.
        all_chunks: Whether all chunks of a text are sent, or only the first.
    """

    limit: int
    all_chunks: bool

    @classmethod
    def of(
        cls, long_text: Literal["error", "truncate", "average"], limit: int | None
    ) -> TextSplitter | None:
        """Return the splitter for an option, or `None` if texts are sent as they are."""
        if long_text == "error" or limit is None:
            return None
        return cls(limit, all_chunks=long_text == "average")

    def may_split(self, text: str) -> bool:
        """Return whether the text's tokens must be counted to know whether it is too long."""
        return not surely_fits(text, self.limit)

    def chunks(self, text: str) -> list[Chunk]:
        """Return what is sent instead of a text."""
        return self._split(text, self.limit)

    def shorter_chunks(self, chunk: str, tokens: int) -> list[Chunk]:
        """Return what is sent instead of a chunk that the service rejected.

        The service may count differently: a chunk that is sent alone is shortened by a tenth, one
        of several is halved. Nothing is returned for a chunk of at most half the model's limit,
        because no two counts differ so much.
        """
        if tokens <= self.limit // 2:
            return []
        return self._split(chunk, -(-tokens // 2) if self.all_chunks else tokens * 9 // 10)

    def _split(self, text: str, limit: int) -> list[Chunk]:
        # The service rejects blank texts, and they mean nothing.
        chunks = (chunk for chunk in load_tokenizer().split(text, limit) if not chunk[0].isspace())
        return list(chunks if self.all_chunks else islice(chunks, 1))


class Chunks:
    """What a call sends instead of its texts, and to which of its texts each chunk belongs.

    Args:
        texts: The texts to send, by their index in the call.
        splitter: Splits them.

    Attributes:
        sent: What is sent, each once. It grows when a chunk is rejected.
    """

    def __init__(self, texts: Mapping[int, str], splitter: TextSplitter) -> None:
        self.sent: list[str] = []
        self._splitter = splitter
        self._tokens: list[int] = []
        self._positions: dict[int, list[int]] = {}
        self._texts: list[set[int]] = []
        positions: dict[str, int] = {}
        for index, text in texts.items():
            chunks = splitter.chunks(text) if splitter.may_split(text) else [(text, 0)]
            for chunk, tokens in chunks:
                position = positions.setdefault(chunk, len(self.sent))
                if position == len(self.sent):
                    self._add(chunk, tokens)
                self._tokens[position] = tokens or self._tokens[position]
            self._set_positions(index, [positions[chunk] for chunk, _ in chunks])

    def positions_of(self, text: int) -> list[int]:
        """Return the positions in `sent` of a text's chunks, in the text's order."""
        return self._positions[text]

    def texts_of(self, position: int) -> list[int]:
        """Return the texts to which the chunk at this position belongs."""
        return sorted(self._texts[position])

    def tokens_at(self, position: int) -> int:
        """Return the number of tokens of a chunk; 0 for a whole text that was not counted."""
        return self._tokens[position]

    def replace_rejected(self, position: int) -> list[int]:
        """Replace a chunk that was rejected, and return the positions of the shorter chunks.

        Returns:
            No positions if nothing shorter is worth sending: the chunk has failed.
        """
        shorter = self._splitter.shorter_chunks(self.sent[position], self._tokens[position])
        positions = [self._add(chunk, tokens) for chunk, tokens in shorter]
        for text in self._texts[position] if positions else ():
            chunks = (
                (positions if chunk == position else [chunk]) for chunk in self._positions[text]
            )
            self._set_positions(text, list(chain.from_iterable(chunks)))
        return positions

    @contextmanager
    def sent_for(self, call: Call) -> Iterator[None]:
        """Let a call send the chunks within this context, and collect vectors of whole texts."""
        texts, collector, indices = call.texts, call.collector, call.indices
        call.texts, call.collector, call.indices = self.sent, ChunkCollector(collector, self), None
        call.on_text_rejected = self.replace_rejected
        try:
            yield
        finally:
            call.texts, call.collector, call.indices = texts, collector, indices
            call.failures = self.failures(call.failures)

    def failures(self, failed: Mapping[int, RequestError]) -> dict[int, RequestError]:
        """Return the texts that failed because a chunk failed, with the first such chunk's error.

        Args:
            failed: The chunks that failed, by their position.
        """
        return {
            text: failed[position]
            for text, positions in self._positions.items()
            for position in reversed(positions)
            if position in failed
        }

    def _add(self, chunk: str, tokens: int) -> int:
        self.sent.append(chunk)
        self._tokens.append(tokens)
        self._texts.append(set())
        return len(self.sent) - 1

    def _set_positions(self, text: int, positions: list[int]) -> None:
        self._positions[text] = positions
        for position in positions:
            self._texts[position].add(text)


class ChunkCollector(WrappingCollector[R], Generic[R]):
    """Collects vectors of chunks, and hands on a text's vector once all its chunks have theirs.

    Args:
        collector: Collects the vectors of texts.
        chunks: To which texts each chunk belongs.
    """

    def __init__(self, collector: Collector[R], chunks: Chunks) -> None:
        super().__init__(collector)
        self._chunks = chunks
        self._arrived: dict[int, ParsedResponse] = {}

    def put(self, indices: Sequence[int], response: ParsedResponse) -> None:
        """Store the vectors of the chunks at `indices`."""
        for row, position in enumerate(indices):
            self._arrived[position] = replace(
                response, dense=response.dense[row : row + 1], sparse=response.sparse[row : row + 1]
            )
            texts = self._chunks.texts_of(position)
            for text in texts:
                self._put_text(text)
            if all(self._chunks.positions_of(text) == [position] for text in texts):
                del self._arrived[position]

    def _put_text(self, text: int) -> None:
        positions = self._chunks.positions_of(text)
        if all(position in self._arrived for position in positions):
            arrived = [self._arrived[position] for position in positions]
            tokens = [self._chunks.tokens_at(position) for position in positions]
            self._collector.put([text], average(arrived, tokens))


def average(chunks: Sequence[ParsedResponse], tokens: Sequence[int]) -> ParsedResponse:
    """Return one vector for the chunks of a text.

    Args:
        chunks: The response to each chunk, with one vector.
        tokens: The number of tokens of each chunk.

    Returns:
        The mean of the dense vectors, weighted by tokens and scaled to unit length; of the sparse
        vectors the largest value of each index. The vector of a single chunk is copied as it is.

    Example:
        >>> one = ParsedResponse(dense=[[4.0, 0.0]], tokens=3, request_id=None)
        >>> other = ParsedResponse(dense=[[0.0, 1.0]], tokens=16, request_id=None)
        >>> average([one, other], [3, 16]).dense
        [[0.6, 0.8]]
    """
    dense = [vector for chunk in chunks for vector in chunk.dense]
    sparse = [vector for chunk in chunks for vector in chunk.sparse]
    if len(chunks) > 1:
        dense = [_mean(dense, tokens)] if dense else []
        sparse = [_largest(sparse)] if sparse else []
    # A copy, because texts that begin alike may have one chunk and must not share a list.
    return replace(chunks[0], dense=[vector.copy() for vector in dense], sparse=sparse)


def _mean(vectors: Sequence[DenseRow], weights: Sequence[int]) -> DenseRow:
    mean: NDArray[np.float64] = np.average(np.array(vectors), axis=0, weights=weights)
    norm = np.linalg.norm(mean)
    unit = mean / norm if norm else mean
    return unit.tolist() if isinstance(vectors[0], list) else unit


def _largest(vectors: Sequence[SparseRow]) -> SparseRow:
    largest: dict[int, tuple[float, str]] = {}
    for vector in vectors:
        tokens = vector.tokens or ("",) * len(vector.indices)
        for index, value, token in zip(vector.indices, vector.values, tokens, strict=True):
            if index not in largest or value > largest[index][0]:
                largest[index] = (value, token)
    return merge_entries(largest)
