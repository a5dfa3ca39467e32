"""What LlamaIndex's hand-overs would lose, in rows and in time.

LlamaIndex gives a long list to an embedding in slices, and when one slice raises, it throws away
the rows of all the others, which were paid for. So a slice that fails answers with stand-ins, and
the error is raised when the rows of all slices are together.

It also copies every row into an event. Where nobody reads events, rows have stand-ins too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from qwen_embed.errors import PartialFailureError, RequestError, TextFailure

Rows = list[list[float]]
Embed = Callable[["float | None"], Rows]
"""Embeds a slice until a time."""
AsyncEmbed = Callable[["float | None"], Coroutine[Any, Any, Rows]]


class _Failed(list[float]):
    """Stands in for the row of a text that failed."""

    def __init__(self, error: RequestError) -> None:
        super().__init__()
        self.error = error


class _Held(list[float]):
    """Stands in for a row that nobody reads on its way."""

    def __init__(self, row: list[float]) -> None:
        super().__init__()
        self.row = row


class HandOvers:
    """The slices of one call.

    Args:
        heard: Whether somebody reads the events in which LlamaIndex tells of rows.
        until: When all must be over, in seconds of `time.monotonic`, or `None`.

    Attributes:
        ended: The error that ended the call for all slices, or `None`.
    """

    def __init__(self, *, heard: bool, until: float | None) -> None:
        self._until = until
        self._heard = heard
        self.ended: RequestError | None = None
        self._tasks: set[asyncio.Task[Rows]] = set()

    def embed(self, texts: Sequence[str], embed: Embed) -> Rows:
        """Return a slice's rows, or stand-ins."""
        if self.ended is not None:
            return [_Failed(self.ended) for _ in texts]
        try:
            return self._handed_over(embed(self._until))
        except (PartialFailureError, RequestError) as error:
            return self._stand_ins(texts, error)

    async def aembed(self, texts: Sequence[str], embed: AsyncEmbed) -> Rows:
        """Return a slice's rows, or stand-ins; an error that ends the call cancels all slices."""
        task = asyncio.ensure_future(embed(self._until))
        self._tasks.add(task)
        try:
            return self._handed_over(await task)
        except (PartialFailureError, RequestError) as error:
            return self._stand_ins(texts, error)
        except asyncio.CancelledError:
            if self.ended is None:
                raise
            return [_Failed(self.ended) for _ in texts]

    def _handed_over(self, rows: Rows) -> Rows:
        return rows if self._heard else [_Held(row) for row in rows]

    def _stand_ins(self, texts: Sequence[str], error: PartialFailureError | RequestError) -> Rows:
        arrived = error.result or [None] * len(texts)
        if isinstance(error, PartialFailureError):
            failed = {failure.index: failure.error for failure in error.failures}
        else:
            failed = dict.fromkeys(range(len(texts)), error)
            if self.ended is None:
                self.ended = error
                for task in self._tasks:
                    task.cancel()
        return [_Failed(failed[n]) if row is None else row for n, row in enumerate(arrived)]

    def whole(self, texts: Sequence[str], rows: Rows) -> Rows:
        """Return the rows of all slices, or raise with them what the slices failed for."""
        rows = [row.row if isinstance(row, _Held) else row for row in rows]
        failures = [
            TextFailure.of(index, texts[index], row.error)
            for index, row in enumerate(rows)
            if isinstance(row, _Failed)
        ]
        if not failures:
            return rows
        arrived = [None if isinstance(row, _Failed) else row for row in rows]
        if self.ended is not None:
            self.ended.result = arrived if len(rows) > 1 else None
            raise self.ended
        raise PartialFailureError.of(failures, result=arrived, count=len(rows))


_current: ContextVar[HandOvers | None] = ContextVar("hand_overs", default=None)


@contextmanager
def hand_overs(*, heard: bool, until: float | None) -> Iterator[HandOvers]:
    """Gather what `embed_slice` and `aembed_slice` do within the block; see `HandOvers`."""
    gathered = HandOvers(heard=heard, until=until)
    token = _current.set(gathered)
    try:
        yield gathered
    finally:
        _current.reset(token)


def embed_slice(texts: Sequence[str], embed: Embed) -> Rows:
    """Return a slice's rows, gathered where a block gathers, else as they are."""
    gathered = _current.get()
    return embed(None) if gathered is None else gathered.embed(texts, embed)


async def aembed_slice(texts: Sequence[str], embed: AsyncEmbed) -> Rows:
    """Return a slice's rows, gathered where a block gathers, else as they are."""
    gathered = _current.get()
    return await (embed(None) if gathered is None else gathered.aembed(texts, embed))
