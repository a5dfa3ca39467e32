"""A lock that keeps the process from forking during an import.

In a child that is forked while another thread imports a module, that module stays locked for ever.
So the heavy imports, which happen in the first call, and forks exclude each other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_MAX_WAIT = 10.0
"""Seconds. After that the process forks anyway: the two might be waiting for each other."""

_importing = threading.RLock()
_held_for_fork = False


@contextmanager
def no_fork() -> Iterator[None]:
    """Delay forks by other threads until the end of the block."""
    lock = _importing  # a child gets a new one
    with lock:
        yield


def _before_fork() -> None:
    global _held_for_fork  # noqa: PLW0603 -- one lock for the process is what this module is for
    _held_for_fork = _importing.acquire(timeout=_MAX_WAIT)


def _after_fork_in_parent() -> None:
    if _held_for_fork:
        _importing.release()


def _after_fork_in_child() -> None:
    global _importing  # noqa: PLW0603
    _importing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
