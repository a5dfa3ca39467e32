"""A thread that waits for the disk, so that a slow disk holds up nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class DiskThread:
    """Runs functions one after another in a thread of its own, which the first of them starts.

    The thread is a daemon: a program may go on in other threads after its main thread has ended,
    when `concurrent.futures` accepts no more work and Python 3.12 starts no more threads. If it
    cannot be started, each function runs in the thread that submits it. Therefore submit nothing
    while holding a lock.
    """

    def __init__(self) -> None:
        self.renew()

    def submit(self, work: Callable[..., T], *args: object) -> Future[T]:
        """Run a function after those submitted before; its errors are the future's."""
        future: Future[T] = Future()
        run = partial(_run, future, work, args)
        if self._started():
            self._queue.put(run)
        else:
            run()
        return future

    def end(self) -> None:
        """End the thread once everything submitted so far has run."""
        self._queue.put(None)

    def renew(self) -> None:
        """Forget the thread and its work: both are the parent's in a forked child."""
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def _started(self) -> bool:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(
                    target=_serve, args=(self._queue,), name="qwen-embed-cache", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending, or the system's limit is reached
                    return False
                self._thread = thread
            return True


def _serve(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        run = queue.get()
        if run is None:
            return
        run()
        del run  # it may hold the last reference to the file, whose end ends this thread


def _run(future: Future[T], work: Callable[..., T], args: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work(*args)
    except BaseException as error:  # raised where the result is awaited
        future.set_exception(error)
        del future  # the error's traceback holds this frame: a cycle
    else:
        future.set_result(result)
