"""Imports that a fork must not cut in two.

A child that is forked while another thread imports a module finds that module locked for ever. So
heavy imports, which come with the first call, and forks take turns.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_LONGEST_WAIT = 10.0
"""Seconds. A fork that has waited so long happens all the same: the two may wait for each other."""

_importing = threading.RLock()
_fork_holds_it = False


@contextmanager
def no_fork() -> Iterator[None]:
    """Let other threads fork the process before this block or after it, but not within."""
    lock = _importing  # a child has another
    with lock:
        yield


def _before_fork() -> None:
    global _fork_holds_it  # noqa: PLW0603 -- one lock for the process is what this module is for
    _fork_holds_it = _importing.acquire(timeout=_LONGEST_WAIT)


def _after_fork_in_parent() -> None:
    if _fork_holds_it:
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
