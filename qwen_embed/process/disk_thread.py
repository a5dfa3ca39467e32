"""A thread for disk I/O, so that a slow disk blocks nothing else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class DiskThread:
    """Runs functions one after another in its own thread, which the first function starts.

    The thread is a daemon, because a program may continue in other threads after its main thread
    has ended. By then `concurrent.futures` accepts no more work, and Python 3.12 starts no more
    threads. If the thread cannot be started, each function runs in the thread that submits it, so
    submit nothing while you hold a lock.
    """

    def __init__(self) -> None:
        self.renew()

    def submit(self, work: Callable[..., T], *args: object) -> Future[T]:
        """Run a function after those submitted before; the future has its result or error."""
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
        """Start over in a forked child: the thread and its work belong to the parent."""
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
                except RuntimeError:  # the interpreter exits, or the system's limit is reached
                    return False
                self._thread = thread
            return True


def _serve(queue: SimpleQueue[Callable[[], None] | None]) -> None:
    while True:
        run = queue.get()
        if run is None:
            return
        run()
        del run  # may be the last reference to the file, and deleting that ends this thread


def _run(future: Future[T], work: Callable[..., T], args: tuple[Any, ...]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = work(*args)
    except BaseException as error:  # raised where the result is awaited
        future.set_exception(error)
        del future  # the error's traceback refers to this frame: a reference cycle
    else:
        future.set_result(result)
