"""Ends tests that hang, and prints where every thread was."""

from __future__ import annotations

import faulthandler
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")

PATIENCE = 20.0


def in_thread(run: Callable[[], T]) -> Future[T]:
    """Run a function in a daemon thread, which is abandoned if it hangs."""
    outcome: Future[T] = Future()

    def settle() -> None:
        try:
            outcome.set_result(run())
        except BaseException as error:
            outcome.set_exception(error)

    threading.Thread(target=settle, daemon=True).start()
    return outcome


def ended(outcome: Future[T]) -> T:
    """Return the outcome, or fail if it hangs."""
    try:
        outcome.exception(PATIENCE)
    except TimeoutError:
        faulthandler.dump_traceback(all_threads=True)
        raise AssertionError(f"no end after {PATIENCE:g} seconds; see the threads above") from None
    return outcome.result()


def watched(run: Callable[[], T]) -> T:
    """Run a function, and fail if it hangs."""
    return ended(in_thread(run))
