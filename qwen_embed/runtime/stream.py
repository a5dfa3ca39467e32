"""Vectors of a stream of texts, in order, with a bounded number of texts in progress.

A stream is embedded in blocks, several of them at a time. A text that fails has its vector marked
and is reported at the end. Whatever ends the whole stream is raised after the vectors of all blocks
before it, which were paid for.
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
Vector = TypeVar("Vector")

BLOCKS_AHEAD = 4


class _End:
    """What follows the last text."""


_END = _End()


@dataclass
class Stream(Generic[R, Vector]):
    """One stream.

    Attributes:
        submit: Starts to embed a block whose first text has this position in the stream.
        vectors: Returns a block's vectors one by one.
        block_size: Texts per block.
        open_bar: Opens a progress bar, in texts; `None` if none is shown.
    """

    submit: Callable[[Sequence[str], int], concurrent.futures.Future[CallResult[R]]]
    vectors: Callable[[R], Iterable[Vector]]
    block_size: int
    open_bar: Callable[[], tqdm[Any]] | None = None
    _bar: tqdm[Any] | None = None
    _started: int = 0
    _failures: list[TextFailure] = field(default_factory=list)
    _pending: deque[concurrent.futures.Future[CallResult[R]]] = field(default_factory=deque)

    def run(self, texts: Iterable[str]) -> Iterator[Vector]:
        """Yield the vectors of texts."""
        source = iter(_checked(texts))
        more = True
        try:
            while more or self._pending:
                while more and len(self._pending) < BLOCKS_AHEAD:
                    more = self._read(source)
                if self._pending:
                    yield from self._finish(self._pending.popleft().result())
        finally:
            self._end()
        self._raise_failures()

    async def arun(self, texts: Iterable[str] | AsyncIterable[str]) -> AsyncIterator[Vector]:
        """Yield the vectors of texts."""
        source = _achecked(texts)
        more = True
        try:
            while more or self._pending:
                while more and len(self._pending) < BLOCKS_AHEAD:
                    more = await self._aread(source)
                if self._pending:
                    result = await asyncio.wrap_future(self._pending.popleft())
                    for vector in self._finish(result):
                        yield vector
        finally:
            self._end()
        self._raise_failures()

    def _read(self, source: Iterator[str]) -> bool:
        """Read a block and start it; return whether others may follow."""
        try:
            block = list(islice(source, self.block_size))
        except Exception as error:  # raised by what gives the texts
            return self._raise_later(error)
        return self._start(block)

    async def _aread(self, source: AsyncIterator[str]) -> bool:
        """Read a block and start it; return whether others may follow."""
        try:
            block = await _atake(source, self.block_size)
        except Exception as error:
            return self._raise_later(error)
        return self._start(block)

    def _start(self, block: list[str]) -> bool:
        """Start a block, and return whether others may follow."""
        if not block:
            return False
        if self.open_bar is not None and self._bar is None:
            self._bar = self.open_bar()
        try:
            self._pending.append(self.submit(block, self._started))
        except InputError as error:
            return self._raise_later(error)
        self._started += len(block)
        return True

    def _raise_later(self, error: Exception) -> bool:
        """Raise an error after the vectors before it, and return that no block may follow."""
        failed: concurrent.futures.Future[CallResult[R]] = concurrent.futures.Future()
        failed.set_exception(error)
        self._pending.append(failed)
        return False

    def _finish(self, result: CallResult[R]) -> Iterable[Vector]:
        self._failures += result.failures
        if self._bar is not None:
            self._bar.update(result.count)
        return self.vectors(result.rows)

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
        raise InputError(f"texts must be an iterable of str, not {type(texts).__name__}.")
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
