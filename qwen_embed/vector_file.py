"""A file of vectors by key, on SQLite: bounded, checked, and shared by threads and processes.

All that it holds can be had again, so whatever goes wrong with it is logged and costs just that.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from qwen_embed.cache import VectorCache

T = TypeVar("T")

_log = logging.getLogger(__name__)

_VERSION = 1
NAME = f"vectors-{_VERSION}.sqlite"
"""The file's name. Releases of this package that write it differently each have their own."""

_SCHEMA = (
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "checksum INTEGER NOT NULL, used INTEGER NOT NULL, vector BLOB NOT NULL)",
    "CREATE INDEX by_use ON vectors (used)",
)
# So many dense vectors fit that little of a page is left over, whatever their dimension.
_PAGE_BYTES = 32 * 1024
_LOG_BYTES = 32 * 1024**2
_BUSY_SECONDS = 10.0
_KEYS_AT_A_TIME = 500  # older SQLites take 999
_EVICTED_AT_A_TIME = 16
_HOUR = 3600.0

_Row = tuple[bytes, int, int, bytes]


class VectorFile:
    """The file of a cache. Safe to use from threads and processes, and across forks.

    Everything here blocks: let it run in `reading` and `writing`.

    Args:
        path: The file.
        max_bytes: The most that it may take.
        clock: Returns the time in seconds since 1970.

    Attributes:
        reading: The thread for reading.
        writing: The thread for writing.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        self.reading = DiskThread()
        self.writing = DiskThread()
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._reader = _Connection(path)
        self._writer = _Connection(path)
        self._told: set[str] = set()
        _open_files.add(self)
        forgotten = weakref.finalize(self, _close, self._reader, self._writer)
        forgotten.atexit = False  # calls that were cut off still write then; see `aclose`

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors that are there, by key. None is returned that was damaged."""
        rows: list[_Row] = []
        now = self._hour()
        try:
            with self._reader.open() as connection:
                for some in _select(connection, keys):
                    rows += some
                used_before = [row[0] for row in rows if row[2] != now]
                # It matters only where something may have to go.
                if used_before and 2 * _bytes_used(connection) > self._max_bytes:
                    self.writing.submit(self._touch, used_before)
        except (sqlite3.Error, OSError) as error:
            self._cope(error)
        vectors = {row[0]: row[3] for row in rows if _is_sound(row)}
        if len(vectors) < len(rows):
            self._tell("Vectors of the cache %s are damaged. They are paid for again.", self._path)
        return vectors

    def write(self, vectors: Mapping[bytes, bytes]) -> None:
        """Keep vectors; where there is no room, those that were used least recently go."""
        now = self._hour()
        rows = [(key, _checksum(key, vector), now, vector) for key, vector in vectors.items()]
        try:
            self._insert(rows)
        except (sqlite3.Error, OSError) as error:
            if self._cope(error):
                with suppress(sqlite3.Error, OSError):
                    self._insert(rows)

    def close(self) -> None:
        """Close the file; whatever is done next opens it again."""
        _close(self._reader, self._writer)

    async def aclose(self) -> None:
        """Close the file, at the end of the process."""
        self.close()

    def hold(self) -> None:
        """Wait for what is being done, close the file, and let nothing more be done."""
        self._reader.lock.acquire()
        self._writer.lock.acquire()
        self._reader.close()
        self._writer.close()

    def go_on(self, *, forked: bool) -> None:
        """Let things be done again, in a child with threads of its own."""
        if forked:
            self.reading = DiskThread()
            self.writing = DiskThread()
        self._writer.lock.release()
        self._reader.lock.release()

    def _hour(self) -> int:
        # When a vector was used is kept to the hour, so that reading seldom writes.
        return int(self._clock() // _HOUR)

    def _insert(self, rows: Sequence[_Row]) -> None:
        with self._writer.open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            with connection:
                connection.executemany(
                    "INSERT OR REPLACE INTO vectors (key, checksum, used, vector) "
                    "VALUES (?, ?, ?, ?)",
                    rows,
                )
                _verify(connection, [row[0] for row in rows])
                _evict(connection, self._max_bytes)
            _shrink(connection, self._max_bytes)

    def _touch(self, keys: Sequence[bytes]) -> None:
        try:
            with self._writer.open() as connection:
                connection.execute("BEGIN IMMEDIATE")
                with connection:
                    connection.executemany(
                        "UPDATE vectors SET used = ? WHERE key = ?",
                        [(self._hour(), key) for key in keys],
                    )
        except (sqlite3.Error, OSError) as error:
            self._cope(error)

    def _cope(self, error: sqlite3.Error | OSError) -> bool:
        """Log an error, and return whether the file was damaged and can be made anew."""
        # SQLite's own word for damage; whatever may pass is an OperationalError.
        if type(error) is not sqlite3.DatabaseError:
            self._tell(
                "The cache %s cannot be used: %s. Texts are paid for again.", self._path, error
            )
            return False
        aside = self._path.with_name(f"{NAME}.damaged")
        with self._reader.lock, self._writer.lock:
            damaged = {self._reader.identity, self._writer.identity}
            self._reader.close()
            self._writer.close()
            # Else another process has made it anew already.
            if _identity(self._path) in damaged:
                try:
                    for end in ("-wal", "-shm"):
                        Path(f"{self._path}{end}").unlink(missing_ok=True)
                    self._path.replace(aside)
                except OSError as failure:
                    self._tell("The damaged cache %s cannot be moved: %s.", self._path, failure)
                    return False
        _log.warning(
            "The cache %s is damaged: %s. It is made anew; the old one is %s.",
            self._path,
            error,
            aside.name,
        )
        return True

    def _tell(self, message: str, *details: object) -> None:
        """Log a warning, each only once."""
        if message not in self._told:
            self._told.add(message)
            _log.warning(message, *details)


class DiskThread:
    """A thread in which disks are waited for, so that a slow one holds up nothing else."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="qwen-embed-cache")

    def submit(self, work: Callable[..., T], *args: object) -> Future[T]:
        """Run a function in the thread, after those that were submitted before."""
        try:
            return self._executor.submit(work, *args)
        except RuntimeError:  # the interpreter is about to end, and starts no thread any more
            done: Future[T] = Future()
            done.set_result(work(*args))
            return done


class _Connection:
    """A connection to a file, opened when it is needed, and anew where the file was replaced.

    Attributes:
        lock: Held by whoever uses it.
        identity: What tells the file that was opened last from others of its name.
    """

    def __init__(self, path: Path) -> None:
        self.lock = threading.Lock()
        self.identity: tuple[int, int] | None = None
        self._path = path
        self._opened: sqlite3.Connection | None = None

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            if self._opened is not None and _identity(self._path) != self.identity:
                self.close()
            if self._opened is None:
                self.identity = _identity(self._path)
                self._opened = _open(self._path)
                self.identity = _identity(self._path)
            yield self._opened

    def close(self) -> None:
        if self._opened is not None:
            with suppress(sqlite3.Error):
                self._opened.close()
            self._opened = None


def _close(*connections: _Connection) -> None:
    for connection in connections:
        with connection.lock:
            connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _open(path: Path) -> sqlite3.Connection:
    """Open a file, and make it where there is none.

    Raises:
        sqlite3.DatabaseError: If it is damaged or not ours.
        sqlite3.OperationalError: If it cannot be opened.
        OSError: If its folder cannot be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writable = os.access(path.parent, os.W_OK)
    connection = sqlite3.connect(
        # SQLite puts files of its own beside a file, even to read it, unless it never changes.
        path.as_uri() + ("" if writable else "?mode=ro&immutable=1"),
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.text_factory = bytes  # damaged text would be an error of another kind
        if writable:
            _make(connection)
        _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _make(connection: sqlite3.Connection) -> None:
    if not _number(connection, "PRAGMA page_count"):
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _log_ahead(connection)
    # Safe but for the last moments before a loss of power, for which no call should wait.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if _is_empty(connection):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if _is_empty(connection):  # else another process was first
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")


def _check(connection: sqlite3.Connection) -> None:
    """Raise for a file of another program or version."""
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
    version = _number(connection, "PRAGMA user_version")
    if version != _VERSION or not found.issuperset(sql.encode() for sql in _SCHEMA):
        raise sqlite3.DatabaseError("it was written by something else")


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Let others read while one writes, from now on."""
    until = time.monotonic() + _BUSY_SECONDS
    while not _logs_ahead(connection):
        # SQLite does not wait by itself here.
        if time.monotonic() > until:
            raise sqlite3.OperationalError("another process has it locked")
        time.sleep(0.02)


def _logs_ahead(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        return False
    return True


def _is_empty(connection: sqlite3.Connection) -> bool:
    return _number(connection, "SELECT count(*) FROM sqlite_master") == 0


def _number(connection: sqlite3.Connection, statement: str) -> int:
    return int(connection.execute(statement).fetchone()[0])


def _select(connection: sqlite3.Connection, keys: Sequence[bytes]) -> Iterator[list[_Row]]:
    for start in range(0, len(keys), _KEYS_AT_A_TIME):
        some = keys[start : start + _KEYS_AT_A_TIME]
        # In the order of ids, so that each page is read once.
        marks = ",".join("?" * len(some))
        found = f"SELECT id FROM vectors WHERE key IN ({marks})"  # noqa: S608 -- marks, no values
        columns = "key, checksum, used, vector"
        yield connection.execute(
            f"SELECT {columns} FROM vectors WHERE id IN ({found})",  # noqa: S608
            some,
        ).fetchall()


def _verify(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Raise where what was just written cannot be read: damage to an index shows nowhere else."""
    found = {row[0] for rows in _select(connection, keys) for row in rows if _is_sound(row)}
    if not found.issuperset(keys):
        raise sqlite3.DatabaseError("what was written cannot be read")


def _checksum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))


def _is_sound(row: _Row) -> bool:
    key, checksum, _, vector = row
    # A damaged row may have values of any type.
    return type(key) is type(vector) is bytes and checksum == _checksum(key, vector)


def _bytes_used(connection: sqlite3.Connection) -> int:
    pages = _number(connection, "PRAGMA page_count") - _number(connection, "PRAGMA freelist_count")
    return pages * _number(connection, "PRAGMA page_size")


def _evict(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Delete what was used least recently where there is too much."""
    if _bytes_used(connection) <= max_bytes:
        return
    # A tenth more than needed, so that this is seldom.
    while _bytes_used(connection) > 0.9 * max_bytes:
        evicted = connection.execute(
            "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors ORDER BY used, id LIMIT ?)",
            (_EVICTED_AT_A_TIME,),
        )
        if not evicted.rowcount:
            return


def _shrink(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Give free pages back to the disk where the file is too large with them."""
    pages = _number(connection, "PRAGMA page_count")
    too_many = pages - max_bytes // _number(connection, "PRAGMA page_size")
    if too_many > 0:
        # As a script: `execute` would give back one page and stop.
        connection.executescript(f"PRAGMA incremental_vacuum({too_many})")


_open_files: weakref.WeakSet[VectorFile] = weakref.WeakSet()
_shared: weakref.WeakValueDictionary[VectorCache, VectorFile] = weakref.WeakValueDictionary()
_lock = threading.Lock()
_held: list[VectorFile] = []


def vector_file(cache: VectorCache) -> VectorFile:
    """Return the file of a cache, which all objects of the process share."""
    with _lock:
        file = _shared.get(cache)
        if file is None:
            file = VectorFile(cache.folder / NAME, max_bytes=cache.max_bytes)
            _shared[cache] = file
        return file


# SQLite's connections and locks must not be carried over a fork: none is open while it happens.


def _before_fork() -> None:
    _lock.acquire()
    _held.extend(_open_files)
    for file in _held:
        file.hold()


def _after_fork(*, forked: bool) -> None:
    for file in _held:
        file.go_on(forked=forked)
    _held.clear()
    _lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=lambda: _after_fork(forked=False),
        after_in_child=lambda: _after_fork(forked=True),
    )
