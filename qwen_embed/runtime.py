"""The one background event loop of the process, on which all I/O runs.

It starts with the first call, is made anew after a fork, and ends with the interpreter. So one
object serves sync code, threads, any number of event loops, and notebooks.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_STOP_SECONDS = 5.0


class Closable(Protocol):
    """Something that holds connections on the loop."""

    async def aclose(self) -> None:
        """Close them."""


class Runtime:
    """An event loop in a daemon thread.

    Attributes:
        open: What is closed when the loop stops, unless it was forgotten before.
        shared: What objects of the process share on this loop, by keys of theirs.
    """

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Closable] = weakref.WeakSet()
        self.shared: dict[Hashable, Any] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="qwen-embed", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call a function on the loop after some seconds; used on the loop only."""
        return self._loop.call_later(seconds, call)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; interrupting the wait cancels it."""
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("A blocking call on qwen-embed's own event loop would never end.")
        outcome = self.submit(coroutine)
        try:
            return outcome.result()
        except BaseException:
            outcome.cancel()
            raise

    async def arun(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine that runs on the loop; cancelling the wait cancels it."""
        return await asyncio.wrap_future(self.submit(coroutine))

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine on the loop; cancelling what is returned cancels it."""
        outcome: concurrent.futures.Future[T] = concurrent.futures.Future()

        def start() -> None:
            # The task takes the context that this callback runs in: the caller's.
            task = self._loop.create_task(coroutine)
            task.add_done_callback(lambda done: _settle(outcome, done))
            outcome.add_done_callback(lambda _: self._cancel(outcome, task))

        self._loop.call_soon_threadsafe(start, context=contextvars.copy_context())
        return outcome

    def _cancel(self, outcome: concurrent.futures.Future[T], task: asyncio.Task[T]) -> None:
        if outcome.cancelled() and not task.done():
            self._loop.call_soon_threadsafe(task.cancel)

    def stop(self) -> None:
        """Cancel what still runs, close what is open, end the thread."""
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()

    async def _finish(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(each.aclose() for each in self.open), return_exceptions=True)
        await self._loop.shutdown_default_executor()


def _settle(outcome: concurrent.futures.Future[T], task: asyncio.Task[T]) -> None:
    if task.cancelled():
        outcome.cancel()
        return
    error = task.exception()
    if not outcome.set_running_or_notify_cancel():
        return
    if error is not None:
        outcome.set_exception(error)
    else:
        outcome.set_result(task.result())


_lock = threading.Lock()
_current: Runtime | None = None
_before_fork: list[Runtime] = []


def started() -> Runtime | None:
    """Return the process's runtime, or `None` where no call has started it."""
    return _current


def current() -> Runtime:
    """Return the process's runtime; the first call starts it."""
    global _current  # noqa: PLW0603 -- one for the process is what this module is for
    with _lock:
        if _current is None:
            _current = Runtime()
        return _current


@atexit.register
def _stop_at_exit() -> None:
    if _current is not None:
        with contextlib.suppress(Exception):
            _current.stop()


def _start_anew_after_fork() -> None:
    global _current, _lock  # noqa: PLW0603
    if _current is not None:
        # The parent's sockets and selector are shared with it: neither used nor closed here.
        _before_fork.append(_current)
        _current = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_anew_after_fork)
