"""Connections to a SQLite file: opened on demand, closed after errors and during forks.

SQLite's connections and locks must not survive a fork, so none is open while the process forks.
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

_SHORT_READ = 522  # SQLITE_IOERR_SHORT_READ: the file is shorter than its header says
_FILE_ERRORS = (sqlite3.Error, OSError, UnicodeDecodeError, MemoryError)


class FileError(Exception):
    """A file that cannot be used.

    Attributes:
        identity: Distinguishes the file from others with the same path.
        is_damage: Whether the file is damaged, as opposed to temporarily unusable.
    """

    def __init__(self, error: Exception, identity: Identity | None) -> None:
        super().__init__(str(error))
        self.identity = identity
        # SQLite raises DatabaseError itself for damage, OperationalError for transient errors and
        # for two kinds of damage. Python may fail to decode a damaged name quoted in a message.
        self.is_damage = (
            type(error) in (sqlite3.DatabaseError, UnicodeDecodeError)
            or "unsupported file format" in self.args[0]
            or getattr(error, "sqlite_errorcode", None) == _SHORT_READ  # Python 3.11
        )


class FileConnection:
    """A connection to a file, opened on demand, and reopened if the file was replaced.

    To avoid deadlocks, whoever needs the locks of both connections of a file acquires the reader's
    first, and nothing is logged or submitted while a lock is held.

    Args:
        path: The file.
        connect: Opens the file, or creates it.
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
        """Yield the connection for exclusive use; an error rolls back the transaction.

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
                    if isinstance(error, _FILE_ERRORS):
                        raise FileError(error, self._identity) from error
                    raise
                finally:
                    self._in_use = False
        finally:
            self._close_if_unneeded()

    @contextmanager
    def closed(self) -> Iterator[None]:
        """Keep the connection closed, after its current user has finished."""
        with self._lock:
            self._shut()
            yield

    def close(self) -> None:
        """Close the connection now, or after its current user has finished."""
        self._unneeded = True
        self._close_if_unneeded()

    def hold(self) -> None:
        """Keep the connection closed until `resume`; may be called again."""
        self._lock.acquire()
        self._shut()

    def resume(self, *, forked: bool) -> None:
        """Allow the connection to be opened again."""
        if forked:  # threads that held the lock or waited for it do not exist in the child
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
            else:  # the file was created or replaced in the meantime
                opened.close()
        return self._opened

    def _close_if_unneeded(self) -> None:
        # Never waits: the garbage collector may call this in a thread that holds other locks.
        # Whoever holds this lock calls this again after releasing it.
        while self._unneeded and not self._in_use:
            try:
                if not self._lock.acquire(blocking=False):
                    return
                self._unneeded = False
                self._shut()
            finally:
                with suppress(RuntimeError):  # another thread holds it
                    self._lock.release()

    def _shut(self) -> None:
        if self._opened is not None:
            with suppress(sqlite3.Error):
                self._opened.close()
            self._opened = None


class OpenFile:
    """The connections and threads of one file, paused during forks until `release`.

    Args:
        path: The file.
        connect: Opens the file, or creates it.

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
            _open_files.add(self)

    def release(self) -> None:
        """Close the connections and end the threads, when the file is no longer used."""
        self.reader.close()
        self.writer.close()
        self.reading.end()
        self.writing.end()
        _open_files.discard(self)

    def hold(self) -> None:
        """Wait for reads and writes to finish, then keep the file closed until `resume`."""
        self.reader.hold()
        self.writer.hold()

    def resume(self, *, forked: bool) -> None:
        """Allow the file to be used again, in a forked child with new threads."""
        if forked:
            self.reading.renew()
            self.writing.renew()
        self.writer.resume(forked=forked)
        self.reader.resume(forked=forked)


def identity_of(path: Path) -> Identity | None:
    """Return the device and inode of a file, or `None` if it does not exist."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


_open_files: set[OpenFile] = set()
_held: list[OpenFile] = []
# Reentrant, because a signal or the garbage collector may interrupt its holder with a call.
_lock = threading.RLock()


def no_fork() -> threading.RLock:
    """Return a lock that delays forks while it is held."""
    return _lock


def _before_fork() -> None:
    _uninterrupted(_hold_all)


def _after_fork(*, forked: bool) -> None:
    _uninterrupted(lambda: _resume_all(forked=forked))


def _hold_all() -> None:
    _lock.acquire()
    for file in _open_files.copy():
        _held.append(file)
        file.hold()


def _resume_all(*, forked: bool) -> None:
    global _lock  # noqa: PLW0603 -- threads that waited for it do not exist in a child
    while _held:
        _held[-1].resume(forked=forked)
        _held.pop()
    if forked:
        _lock = threading.RLock()
    else:
        _release(_lock)


def _uninterrupted(step: Callable[[], None]) -> None:
    """Run a step again until nothing interrupts it, because Python forks even after an error."""
    interrupt: BaseException | None = None
    while True:
        try:
            step()
            break
        except BaseException as error:  # KeyboardInterrupt, or an error of a signal handler
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
