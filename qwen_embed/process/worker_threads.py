"""Threads for blocking work that go on working after the main thread has ended."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


class WorkerThreads(ThreadPoolExecutor):
    """A pool of threads that never refuses work.

    Python's own takes none once the main thread has ended, though other threads may still run; from
    Python 3.12 on no thread can be started then either. Work is done in the submitting thread
    then: slower, but done.
    """

    def submit(self, work: Callable[..., T], /, *args: Any, **options: Any) -> Future[T]:
        """Run a function in one of the threads; the future is done at once where none can."""
        try:
            return super().submit(work, *args, **options)
        except RuntimeError:
            done: Future[T] = Future()
        try:
            done.set_result(work(*args, **options))
        except Exception as error:
            done.set_exception(error)
        return done
