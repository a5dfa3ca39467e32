"""The one background event loop of the process, on which all I/O runs.

It starts with the first call, is recreated after a fork, and ends with the interpreter. So one
object serves sync code, threads, any number of event loops, and notebooks.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Hashable
from concurrent.futures import Future
from typing import Any, Protocol, TypeVar

from qwen_embed.errors import ClosedError, QwenEmbedError
from qwen_embed.process.worker_threads import WorkerThreads

T = TypeVar("T")

_STOP_SECONDS = 12.0
"""A cache whose file another process has locked waits ten seconds for it."""


class Closable(Protocol):
    """Something that holds connections on the loop."""

    async def aclose(self) -> None:
        """Close them."""


class _ForkSafeLoop(asyncio.SelectorEventLoop):
    """An event loop that counts as closed in a forked child.

    The child shares its selector with the parent. A connection that ends in the child, at the
    latest as the child exits, would be taken off the selector, and the parent would never hear of
    an answer on it again.
    """

    def __init__(self) -> None:
        super().__init__()
        self._process = os.getpid()

    def is_closed(self) -> bool:
        """Return whether it was closed, or belongs to another process."""
        return self._process != os.getpid() or super().is_closed()


class BackgroundLoop:
    """An event loop in a daemon thread.

    Attributes:
        open: What is closed when the loop stops, unless it was garbage-collected before.
        shared: What objects of the process share on this loop, by their own keys.

    Raises:
        QwenEmbedError: If no thread can be started for it.
    """

    def __init__(self) -> None:
        self.open: weakref.WeakSet[Closable] = weakref.WeakSet()
        self.shared: dict[Hashable, Any] = {}
        self._stopping = False
        self._unfinished: set[Future[Any]] = set()
        self._loop = _ForkSafeLoop() if hasattr(os, "fork") else asyncio.new_event_loop()
        # Host names are looked up there.
        self._loop.set_default_executor(WorkerThreads(thread_name_prefix="qwen-embed-worker"))
        self._thread = threading.Thread(target=self._serve, name="qwen-embed", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            if threading.main_thread().is_alive():
                raise QwenEmbedError(f"No thread could be started for requests: {error}.") from None
            raise ClosedError.at_exit() from None

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call_later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        """Call a function on the loop after some seconds; used on the loop only."""
        return self._loop.call_later(seconds, call)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; interrupting the wait cancels it.

        Raises:
            ClosedError: If the interpreter is exiting.
        """
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

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine on the loop; cancelling what is returned cancels it.

        Raises:
            ClosedError: If the interpreter is exiting.
        """
        outcome: Future[T] = Future()

        def start() -> None:
            # The task takes the context that this callback runs in: the caller's.
            task = self._loop.create_task(coroutine)
            task.add_done_callback(lambda done: self._settle(outcome, done))
            outcome.add_done_callback(lambda _: self._cancel(outcome, task))

        self._unfinished.add(outcome)
        try:
            self._loop.call_soon_threadsafe(start, context=contextvars.copy_context())
        except RuntimeError:  # it was closed by `stop`
            self._unfinished.discard(outcome)
            coroutine.close()
            raise ClosedError.at_exit() from None
        return outcome

    def _cancel(self, outcome: Future[T], task: asyncio.Task[T]) -> None:
        if outcome.cancelled() and not task.done():
            with contextlib.suppress(RuntimeError):  # closed by `stop`, which cancelled the task
                self._loop.call_soon_threadsafe(task.cancel)

    def _settle(self, outcome: Future[T], task: asyncio.Task[T]) -> None:
        self._unfinished.discard(outcome)
        if task.cancelled() and not self._stopping:
            outcome.cancel()
            return
        error = ClosedError.at_exit() if task.cancelled() else task.exception()
        if not outcome.set_running_or_notify_cancel():
            return
        if error is not None:
            outcome.set_exception(error)
        else:
            outcome.set_result(task.result())

    def abandon(self) -> list[Closable]:
        """Return what was open, to be kept for ever: a forked child neither uses nor closes it."""
        self._loop.set_exception_handler(lambda *_: None)  # at exit it is closed by nobody
        return list(self.open)

    def stop(self) -> None:
        """Cancel what still runs, close what is open, end the thread; used once."""
        self._stopping = True
        asyncio.run_coroutine_threadsafe(self._finish(), self._loop).result(_STOP_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_STOP_SECONDS)
        self._loop.close()
        for outcome in list(self._unfinished):  # submitted while the loop was ending
            if outcome.set_running_or_notify_cancel():
                outcome.set_exception(ClosedError.at_exit())

    async def _finish(self) -> None:
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(each.aclose() for each in self.open), return_exceptions=True)


_lock = threading.Lock()
_current: BackgroundLoop | None = None
_exiting = False
_of_parents: list[tuple[BackgroundLoop, list[Closable]]] = []


def started() -> BackgroundLoop | None:
    """Return the process's background loop, or `None` where none runs: not yet, or no more."""
    return _current


def current() -> BackgroundLoop:
    """Return the process's background loop; the first call starts it.

    Raises:
        ClosedError: If the interpreter is exiting.
    """
    global _current  # noqa: PLW0603 -- one for the process is what this module is for
    with _lock:
        if _exiting:
            raise ClosedError.at_exit()
        if _current is None:
            _current = BackgroundLoop()
        return _current


@atexit.register
def _stop_at_exit() -> None:
    global _current, _exiting  # noqa: PLW0603
    _exiting = True
    running, _current = _current, None
    if running is not None:
        with contextlib.suppress(Exception):
            running.stop()


def _reset_after_fork() -> None:
    global _current, _lock  # noqa: PLW0603
    if _current is not None:
        # Sockets and selector are shared with the parent.
        _of_parents.append((_current, _current.abandon()))
        _current = None
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
