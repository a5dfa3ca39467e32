"""Threads for blocking work that keep working after the main thread has ended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerThreads(ThreadPoolExecutor):
    """A thread pool that always accepts work.

    Python's own accepts none once the main thread has ended, although other threads may still run.
    From Python 3.12 on, no thread can be started then either. This one falls back to the thread
    that submits the work.
    """

    def submit(self, work: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Run a function in a thread of the pool, or here if the pool accepts no more work."""
        try:
            return super().submit(work, *args, **options)
        except RuntimeError:
            done: Future[T] = Future()
        try:
            done.set_result(work(*args, **options))
        except Exception as error:
            done.set_exception(error)
        return done
