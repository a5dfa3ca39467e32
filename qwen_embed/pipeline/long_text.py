"""Texts of more tokens than the model takes: the parts sent in their stead, and their one row."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from typing import Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from qwen_embed.errors import RequestError
from qwen_embed.pipeline.collectors import Collector
from qwen_embed.pipeline.dispatcher import Call
from qwen_embed.pipeline.plan import Plan
from qwen_embed.protocols.base import DenseRow, ParsedResponse
from qwen_embed.sparse import SparseRow, merge_entries
from qwen_embed.tokenizer import load_tokenizer, surely_fits

R = TypeVar("R")

Part = tuple[str, int]
"""What is sent in place of a text or of a part of it, and how many tokens it has."""


@dataclass(frozen=True)
class TextSplitter:
    """Cuts texts that are too long.

    Attributes:
        limit: The most tokens that the model takes in one text.
        whole: Whether all parts of a text are sent, or only the first.
    """

    limit: int
    whole: bool

    @classmethod
    def of(
        cls, long_text: Literal["error", "truncate", "average"], limit: int | None
    ) -> TextSplitter | None:
        """Return what cuts as the option says, or `None` where texts are left alone."""
        if long_text == "error" or limit is None:
            return None
        return cls(limit, whole=long_text == "average")

    def may_cut(self, text: str) -> bool:
        """Return whether the text's tokens have to be counted to know if it is too long."""
        return not surely_fits(text, self.limit)

    def parts(self, text: str) -> list[Part]:
        """Return what is sent in place of a text."""
        return self._cut(text, self.limit)

    def smaller_parts(self, part: str, tokens: int) -> list[Part]:
        """Return what is sent in place of a part that the service refused all the same.

        It may count otherwise than we do: one that is sent alone is made a tenth shorter, one of
        several is halved. Nothing is returned for parts of no more than half the model's limit,
        since no count differs so much.
        """
        if tokens <= self.limit // 2:
            return []
        return self._cut(part, -(-tokens // 2) if self.whole else tokens * 9 // 10)

    def _cut(self, text: str, limit: int) -> list[Part]:
        # The service refuses blank texts, and they mean nothing.
        parts = (part for part in load_tokenizer().split(text, limit) if not part[0].isspace())
        return list(parts if self.whole else islice(parts, 1))


class Chunks:
    """What a call sends for its texts, and which of its texts each of that is a part of.

    Args:
        texts: The texts to send, by their index in the call.
        cutter: Cuts them.

    Attributes:
        sent: What is sent, each once. It grows where a part is refused.
    """

    def __init__(self, texts: Mapping[int, str], cutter: TextSplitter) -> None:
        self.sent: list[str] = []
        self._cutter = cutter
        self._tokens: list[int] = []
        self._places: dict[int, list[int]] = {}
        self._texts: list[set[int]] = []
        places: dict[str, int] = {}
        for index, text in texts.items():
            parts = cutter.parts(text) if cutter.may_cut(text) else [(text, 0)]
            for part, tokens in parts:
                place = places.setdefault(part, len(self.sent))
                if place == len(self.sent):
                    self._add(part, tokens)
                self._tokens[place] = tokens or self._tokens[place]
            self._set_places(index, [places[part] for part, _ in parts])

    def places_of(self, text: int) -> list[int]:
        """Return the places in `sent` of a text's parts, in the text's order."""
        return self._places[text]

    def texts_of(self, place: int) -> list[int]:
        """Return the texts that have a part at this place."""
        return sorted(self._texts[place])

    def tokens_at(self, place: int) -> int:
        """Return how many tokens a part has; 0 for a whole text that nobody had to count."""
        return self._tokens[place]

    def instead(self, place: int) -> list[int]:
        """Replace a part that was refused all the same, and return the places of what replaces it.

        Returns:
            No places where nothing smaller is worth sending: the part has failed.
        """
        smaller = self._cutter.smaller_parts(self.sent[place], self._tokens[place])
        places = [self._add(part, tokens) for part, tokens in smaller]
        for text in self._texts[place] if places else ():
            parts = ((places if part == place else [part]) for part in self._places[text])
            self._set_places(text, list(chain.from_iterable(parts)))
        return places

    @contextmanager
    def sent_for(self, call: Call) -> Iterator[None]:
        """Let a call send the parts within this context, and fill its rows for whole texts."""
        texts, rows, indices = call.texts, call.rows, call.indices
        call.texts, call.rows, call.indices = self.sent, ChunkCollector(rows, self), None
        call.instead = self.instead
        try:
            yield
        finally:
            call.texts, call.rows, call.indices = texts, rows, indices
            call.failures = self.failures(call.failures)

    def failures(self, failed: Mapping[int, RequestError]) -> dict[int, RequestError]:
        """Return the texts that failed since a part of them did, with the first such part's error.

        Args:
            failed: The parts that failed, by their place.
        """
        return {
            text: failed[place]
            for text, places in self._places.items()
            for place in reversed(places)
            if place in failed
        }

    def _add(self, part: str, tokens: int) -> int:
        self.sent.append(part)
        self._tokens.append(tokens)
        self._texts.append(set())
        return len(self.sent) - 1

    def _set_places(self, text: int, places: list[int]) -> None:
        self._places[text] = places
        for place in places:
            self._texts[place].add(text)


class ChunkCollector(Collector[R], Generic[R]):
    """Takes the rows of parts, and gives other rows those of whole texts as soon as all are there.

    Args:
        rows: Takes the rows of texts.
        parts: Which text each part belongs to.
    """

    def __init__(self, rows: Collector[R], parts: Chunks) -> None:
        self.arrays = rows.arrays
        self._rows = rows
        self._parts = parts
        self._arrived: dict[int, ParsedResponse] = {}

    def put(self, indices: Sequence[int], answer: ParsedResponse) -> None:
        """Store the rows of the parts at `indices`."""
        for row, place in enumerate(indices):
            self._arrived[place] = replace(
                answer, dense=answer.dense[row : row + 1], sparse=answer.sparse[row : row + 1]
            )
            texts = self._parts.texts_of(place)
            for text in texts:
                self._put_text(text)
            if all(self._parts.places_of(text) == [place] for text in texts):
                del self._arrived[place]

    def _put_text(self, text: int) -> None:
        places = self._parts.places_of(text)
        if all(place in self._arrived for place in places):
            arrived = [self._arrived[place] for place in places]
            tokens = [self._parts.tokens_at(place) for place in places]
            self._rows.put([text], average(arrived, tokens))

    def result(self, plan: Plan, dimension: int | None) -> R:
        """Return the rows of the texts."""
        return self._rows.result(plan, dimension)


def average(parts: Sequence[ParsedResponse], tokens: Sequence[int]) -> ParsedResponse:
    """Return one row for the parts of a text.

    Args:
        parts: The answers to each part, of one row.
        tokens: How many tokens each part has.

    Returns:
        The mean of the dense rows, weighted by tokens and scaled to unit length, and for each index
        of the sparse rows its largest value. The row of a single part stays as it is, in a copy.

    Example:
        >>> one = ParsedResponse(dense=[[4.0, 0.0]], tokens=3, request_id=None)
        >>> other = ParsedResponse(dense=[[0.0, 1.0]], tokens=16, request_id=None)
        >>> average([one, other], [3, 16]).dense
        [[0.6, 0.8]]
    """
    dense = [row for part in parts for row in part.dense]
    sparse = [row for part in parts for row in part.sparse]
    if len(parts) > 1:
        dense = [_mean(dense, tokens)] if dense else []
        sparse = [_largest(sparse)] if sparse else []
    # A copy, since texts that begin alike may have one part and must not share a list.
    return replace(parts[0], dense=[row.copy() for row in dense], sparse=sparse)


def _mean(rows: Sequence[DenseRow], weights: Sequence[int]) -> DenseRow:
    mean: NDArray[np.float64] = np.average(np.array(rows), axis=0, weights=weights)
    norm = np.linalg.norm(mean)
    unit = mean / norm if norm else mean
    return unit.tolist() if isinstance(rows[0], list) else unit


def _largest(rows: Sequence[SparseRow]) -> SparseRow:
    largest: dict[int, tuple[float, str]] = {}
    for row in rows:
        tokens = row.tokens or ("",) * len(row.indices)
        for index, value, token in zip(row.indices, row.values, tokens, strict=True):
            if index not in largest or value > largest[index][0]:
                largest[index] = (value, token)
    return merge_entries(largest)
