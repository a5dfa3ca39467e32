"""The connections to a SQLite file: opened when needed, dropped on any fault, closed over forks.

SQLite's connections and locks must not be carried over a fork: none is open while it happens.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from qwen_embed.process.disk_thread import DiskThread

Identity = tuple[int, int]
Connect = Callable[[Path], sqlite3.Connection]

_SHORT_READ = 522  # SQLITE_IOERR_SHORT_READ: a file that is shorter than another part of it says
_FAULTS = (sqlite3.Error, OSError, UnicodeDecodeError, MemoryError)


class FileError(Exception):
    """A file that cannot be used.

    Attributes:
        identity: What tells that file from others of its name.
        is_damage: Whether it is damaged, rather than out of reach for now.
    """

    def __init__(self, error: Exception, identity: Identity | None) -> None:
        super().__init__(str(error))
        self.identity = identity
        # SQLite's own class for damage; whatever may pass is an OperationalError, and these two do
        # not. Its messages quote names from the file, which Python cannot decode if damaged.
        self.is_damage = (
            type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)
            or "unsupported file format" in self.args[0]
            or getattr(error, "sqlite_errorcode", None) == _SHORT_READ  # Python 3.11
        )


class FileConnection:
    """A connection to a file, opened when it is needed, and again if the file was replaced.

    Its lock is waited for while another one is held only by who takes both of a file, the reader's
    first. Nothing is logged or submitted while it is held.

    Args:
        path: The file.
        connect: Opens it, and creates it if there is none.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self._path = path
        self._connect = connect
        # Reentrant, so that an interrupted fork can hold it again; see `_before_fork`.
        self._lock = threading.RLock()
        self._opened: sqlite3.Connection | None = None
        self._identity: Identity | None = None
        self._in_use = False
        self._unneeded = False

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Yield the connection to its only user; if the user fails, nothing begun remains.

        Raises:
            FileError: If the file cannot be used.
        """
        try:
            with self._lock:
                try:
                    self._in_use = True
                    yield self._current()
                except BaseException as error:
                    self._shut()  # which rolls back
                    if isinstance(error, _FAULTS):
                        raise FileError(error, self._identity) from error
                    raise
                finally:
                    self._in_use = False
        finally:
            self._close_if_unneeded()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Keep the file closed, once whoever uses it is done."""
        with self._lock:
            self._shut()
            yield

    def close(self) -> None:
        """Close the file now, or after whoever uses it."""
        self._unneeded = True
        self._close_if_unneeded()

    def hold(self) -> None:
        """Do as `closed`, until `go_on`; may be called again."""
        self._lock.acquire()
        self._shut()

    def go_on(self, *, forked: bool) -> None:
        """Let the file be opened again; in a forked child, threads that waited are no more."""
        if forked:
            self._lock = threading.RLock()
        else:
            _release(self._lock)
        self._close_if_unneeded()

    def _current(self) -> sqlite3.Connection:
        if self._opened is not None and identity_of(self._path) != self._identity:
            self._shut()
        while self._opened is None:
            self._identity = identity_of(self._path)
            opened = self._connect(self._path)
            if identity_of(self._path) == self._identity:
                self._opened = opened
            else:  # it was created or replaced meanwhile
                opened.close()
        return self._opened

    def _close_if_unneeded(self) -> None:
        # Whoever has the lock asks again after releasing it, so nobody has to wait for it here,
        # which the garbage collector may run in a thread that holds others.
        while self._unneeded and not self._in_use:
            try:
                if not self._lock.acquire(blocking=False):
                    return
                self._unneeded = False
                self._shut()
            finally:
                with suppress(RuntimeError):  # another thread has it
                    self._lock.release()

    def _shut(self) -> None:
        if self._opened is not None:
            with suppress(sqlite3.Error):
                self._opened.close()
            self._opened = None


class OpenFile:
    """The connections and threads of one file, which forks know from here until `let_go`.

    Args:
        path: The file.
        connect: Opens it, and creates it if there is none.

    Attributes:
        reader: The connection for reading.
        writer: The connection for writing.
        reading: The thread for reading.
        writing: The thread for writing.
    """

    def __init__(self, path: Path, connect: Connect) -> None:
        self.reader = FileConnection(path, connect)
        self.writer = FileConnection(path, connect)
        self.reading = DiskThread()
        self.writing = DiskThread()
        with _lock:
            _existing.add(self)

    def let_go(self) -> None:
        """Close everything: nobody uses it any more."""
        self.reader.close()
        self.writer.close()
        self.reading.end()
        self.writing.end()
        _existing.discard(self)

    def hold(self) -> None:
        """Wait for what is being done, close the file, and let nothing more be done."""
        self.reader.hold()
        self.writer.hold()

    def go_on(self, *, forked: bool) -> None:
        """Let things be done again, in a child with threads of its own."""
        if forked:
            self.reading.renew()
            self.writing.renew()
        self.writer.go_on(forked=forked)
        self.reader.go_on(forked=forked)


def identity_of(path: Path) -> Identity | None:
    """Return what tells a file from others of its name, or `None` if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_existing: set[OpenFile] = set()
_held: list[OpenFile] = []
# Reentrant, since a signal or the garbage collector may interrupt its holder with a call.
_lock = threading.RLock()


def no_fork() -> threading.RLock:
    """Return a lock: while it is held, the process is not forked."""
    return _lock


def _before_fork() -> None:
    _to_the_end(_hold_all)


def _after_fork(*, forked: bool) -> None:
    _to_the_end(lambda: _go_on_all(forked=forked))


def _hold_all() -> None:
    _lock.acquire()
    for file in _existing.copy():
        _held.append(file)
        file.hold()


def _go_on_all(*, forked: bool) -> None:
    global _lock  # noqa: PLW0603 -- threads that waited for it are no more in a child
    while _held:
        _held[-1].go_on(forked=forked)
        _held.pop()
    if forked:
        _lock = threading.RLock()
    else:
        _release(_lock)


def _to_the_end(step: Callable[[], None]) -> None:
    """Run a step again until nothing interrupts it: an error does not keep Python from forking."""
    interrupt: BaseException | None = None
    while True:
        try:
            step()
            break
        except BaseException as error:  # Ctrl-C, and whatever signal handlers raise
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _release(lock: threading.RLock) -> None:
    """Release a lock as often as this thread holds it."""
    with suppress(RuntimeError):
        while True:
            lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(forked=False),
        after_in_child=lambda: _after_fork(forked=True),
    )
