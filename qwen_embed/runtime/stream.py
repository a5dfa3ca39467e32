"""Rows of a stream of texts, in order, with a bounded number of texts under way.

A stream is embedded in blocks, some of them side by side. A text that fails leaves its row marked
and is told of at the end; what ends the whole stream is raised after the rows of all blocks before.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from tqdm.auto import tqdm

from qwen_embed.errors import InputError, PartialFailureError, TextFailure
from qwen_embed.results import CallResult

R = TypeVar("R")
Row = TypeVar("Row")

BLOCKS_AHEAD = 4


class _End:
    """What follows the last text."""


_END = _End()


@dataclass
class Stream(Generic[R, Row]):
    """One stream.

    Attributes:
        submit: Starts to embed a block whose first text has this place in the stream.
        rows: Returns a block's rows one by one.
        block_size: Texts in a block.
        open_bar: Opens a progress bar, in texts; `None` where none is shown.
    """

    submit: Callable[[Sequence[str], int], concurrent.futures.Future[CallResult[R]]]
    rows: Callable[[R], Iterable[Row]]
    block_size: int
    open_bar: Callable[[], tqdm[Any]] | None = None
    _bar: tqdm[Any] | None = None
    _started: int = 0
    _failures: list[TextFailure] = field(default_factory=list)
    _pending: deque[concurrent.futures.Future[CallResult[R]]] = field(default_factory=deque)

    def run(self, texts: Iterable[str]) -> Iterator[Row]:
        """Yield the rows of texts."""
        source = iter(_checked(texts))
        more = True
        try:
            while more or self._pending:
                while more and len(self._pending) < BLOCKS_AHEAD:
                    more = self._start(list(islice(source, self.block_size)))
                if self._pending:
                    yield from self._finish(self._pending.popleft().result())
        finally:
            self._end()
        self._raise_failures()

    async def arun(self, texts: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[Row]:
        """Yield the rows of texts."""
        source = _achecked(texts)
        more = True
        try:
            while more or self._pending:
                while more and len(self._pending) < BLOCKS_AHEAD:
                    more = self._start(await _atake(source, self.block_size))
                if self._pending:
                    embedded = await asyncio.wrap_future(self._pending.popleft())
                    for row in self._finish(embedded):
                        yield row
        finally:
            self._end()
        self._raise_failures()

    def _start(self, block: list[str]) -> bool:
        """Start a block, and return whether others may follow."""
        if not block:
            return False
        if self.open_bar is not None and self._bar is None:
            self._bar = self.open_bar()
        try:
            self._pending.append(self.submit(block, self._started))
        except InputError as error:
            # Raised in its turn: the rows before it were paid for.
            failed: concurrent.futures.Future[CallResult[R]] = concurrent.futures.Future()
            failed.set_exception(error)
            self._pending.append(failed)
            return False
        self._started += len(block)
        return True

    def _finish(self, embedded: CallResult[R]) -> Iterable[Row]:
        self._failures += embedded.failures
        if self._bar is not None:
            self._bar.update(embedded.count)
        return self.rows(embedded.rows)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.close()
        for future in self._pending:
            future.cancel()
        self._pending.clear()

    def _raise_failures(self) -> None:
        if self._failures:
            raise PartialFailureError.of(self._failures, result=None, count=self._started)


def _checked(texts: Iterable[str]) -> Iterable[str]:
    if isinstance(texts, (str, bytes)) or not isinstance(texts, Iterable):
        raise InputError(f"texts must give str one by one, and not be {type(texts).__name__}.")
    return texts


async def _achecked(texts: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[str]:
    if isinstance(texts, AsyncIterable):
        async for text in texts:
            yield text
    else:
        for text in _checked(texts):
            yield text


async def _atake(source: AsyncIterator[str], count: int) -> list[str]:
    taken: list[str] = []
    while len(taken) < count:
        text = await anext(source, _END)
        if isinstance(text, _End):
            break
        taken.append(text)
    return taken
