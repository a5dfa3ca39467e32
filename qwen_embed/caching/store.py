"""A file of vectors by key, on SQLite: bounded, checked, and shared by threads and processes.

All vectors can be requested again, so an error of the file is logged and otherwise only costs
requests.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
import weakref
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from qwen_embed.caching.connection import FileError, OpenFile, identity_of, no_fork
from qwen_embed.config.vector_cache import VectorCache

_log = logging.getLogger(__name__)

_VERSION = 1
NAME = f"vectors-{_VERSION}.sqlite"
"""The file's name; each version of its format has its own."""

_SCHEMA = (
    "CREATE TABLE vectors (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, "
    "checksum INTEGER NOT NULL, used INTEGER NOT NULL, vector BLOB NOT NULL)",
    "CREATE INDEX by_use ON vectors (used)",
)
# Large enough for many dense vectors, so that little of a page is wasted for any dimension.
_PAGE_BYTES = 32 * 1024
_LOG_BYTES = 32 * 1024**2
_BUSY_SECONDS = 10.0
_MAX_KEYS = 500  # per statement; older SQLites accept 999
_EVICTION_BATCH = 16
_HOUR = 3600.0

_Row = tuple[bytes, int, int, bytes]


class VectorFile:
    """The file of a cache. Safe to use from threads and processes, and across forks.

    All methods block: call them in the threads `reading` and `writing`.

    Args:
        path: The file.
        max_bytes: Its maximum size.
        clock: Returns the time in seconds since 1970.

    Attributes:
        reading: The thread for reading.
        writing: The thread for writing.
    """

    def __init__(
        self, path: Path, *, max_bytes: int, clock: Callable[[], float] = time.time
    ) -> None:
        opened = OpenFile(path, _open)
        self.reading = opened.reading
        self.writing = opened.writing
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._reader = opened.reader
        self._writer = opened.writer
        self._warned: set[str] = set()
        finalizer = weakref.finalize(self, opened.release)
        finalizer.atexit = False  # cancelled calls still write at exit; see `aclose`

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the stored vectors by key, without damaged ones."""
        rows: list[_Row] = []
        outdated: list[bytes] = []
        now = self._hour()
        try:
            with self._reader.open() as connection:
                for found in _select(connection, keys):
                    rows += found
                # The time of use matters only if vectors may have to be evicted.
                if 2 * _bytes_used(connection) > self._max_bytes:
                    outdated = [row[0] for row in rows if row[2] != now]
        except FileError as error:
            self._recover(error)
        if outdated:
            self.writing.submit(self._touch, outdated)
        vectors = {row[0]: row[3] for row in rows if _is_intact(row)}
        if len(vectors) < len(rows):
            self._warn_once(
                "Vectors in the cache %s are damaged. Their texts are requested again.", self._path
            )
        return vectors

    def write(self, vectors: Mapping[bytes, bytes]) -> None:
        """Store vectors; if the file is full, the least recently used ones are evicted."""
        now = self._hour()
        rows = [(key, _checksum(key, vector), now, vector) for key, vector in vectors.items()]
        try:
            self._insert(rows)
        except FileError as error:
            if self._recover(error):
                with suppress(FileError):
                    self._insert(rows)

    def close(self) -> None:
        """Close the file, after its current users have finished; never waits for them.

        The next use opens it again.
        """
        self._reader.close()
        self._writer.close()

    async def aclose(self) -> None:
        """Close the file once everything submitted to `writing` is written."""
        await asyncio.wrap_future(self.writing.submit(self.close))

    def _hour(self) -> int:
        # The time of use is stored in hours, so that reads seldom cause writes.
        return int(self._clock() // _HOUR)

    def _insert(self, rows: Sequence[_Row]) -> None:
        with self._writer.open() as connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT OR REPLACE INTO vectors (key, checksum, used, vector) VALUES (?, ?, ?, ?)",
                rows,
            )
            _verify(connection, [row[0] for row in rows])
            _evict(connection, self._max_bytes)
            connection.execute("COMMIT")
            _shrink(connection, self._max_bytes)

    def _touch(self, keys: Sequence[bytes]) -> None:
        try:
            with self._writer.open() as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(
                    "UPDATE vectors SET used = ? WHERE key = ?",
                    [(self._hour(), key) for key in keys],
                )
                connection.execute("COMMIT")
        except FileError as error:
            self._recover(error)

    def _recover(self, error: FileError) -> bool:
        """Log an error, move a damaged file aside, and return whether to retry with a new one."""
        if not error.is_damage:
            self._warn_once(
                "The cache %s cannot be used: %s. Texts are requested again.", self._path, error
            )
            return False
        aside = self._path.with_name(f"{NAME}.damaged")
        try:
            with self._reader.closed(), self._writer.closed():
                # If it is another file by now, another user has recreated it already.
                damaged = error.identity is not None and identity_of(self._path) == error.identity
                if damaged:
                    for end in ("-wal", "-shm"):
                        Path(f"{self._path}{end}").unlink(missing_ok=True)
                    self._path.replace(aside)
        except OSError as failure:
            self._warn_once("The damaged cache %s cannot be moved: %s.", self._path, failure)
            return False
        if damaged:
            _warn(
                "The cache %s is damaged: %s. It is recreated; the damaged file is now %s.",
                self._path,
                error,
                aside.name,
            )
        return True

    def _warn_once(self, message: str, *details: object) -> None:
        """Log a warning, but the same message only once."""
        if message not in self._warned:
            self._warned.add(message)
            _warn(message, *details)


def _warn(message: str, *details: object) -> None:
    # As str: if a handler kept the error, its traceback would keep this file open.
    _log.warning(message, *map(str, details))


def _open(path: Path) -> sqlite3.Connection:
    """Open a file, or create it.

    Raises:
        sqlite3.DatabaseError: If it is damaged or was not written by this package.
        sqlite3.OperationalError: If it cannot be opened.
        OSError: If its folder cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writable = os.access(path.parent, os.W_OK)
    connection = sqlite3.connect(
        # SQLite creates other files next to a file even to read it, unless it is immutable.
        path.as_uri() + ("" if writable else "?mode=ro&immutable=1"),
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        connection.text_factory = bytes  # decoding damaged text would raise another kind of error
        if writable:
            _initialize(connection)
        _check(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _initialize(connection: sqlite3.Connection) -> None:
    if not _number(connection, "PRAGMA page_count"):
        connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    _use_wal(connection)
    # Only a power failure loses the last writes, and no call should wait to prevent that.
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA journal_size_limit = {_LOG_BYTES}")
    if _is_empty(connection):
        connection.execute("BEGIN IMMEDIATE")
        with connection:
            if _is_empty(connection):  # otherwise another process was faster
                for statement in _SCHEMA:
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {_VERSION}")


def _check(connection: sqlite3.Connection) -> None:
    """Raise if another program or version wrote the file."""
    found = {sql for (sql,) in connection.execute("SELECT sql FROM sqlite_master")}
    version = _number(connection, "PRAGMA user_version")
    if version != _VERSION or not found.issuperset(sql.encode() for sql in _SCHEMA):
        raise sqlite3.DatabaseError("it was written by another program")


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch to write-ahead logging, so that others can read during a write."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while not _uses_wal(connection):
        # SQLite itself does not wait here.
        if time.monotonic() > deadline:
            # A file of this package uses WAL already, and is never locked in this way.
            if _number(connection, "PRAGMA page_count"):
                raise sqlite3.DatabaseError("its header is damaged")
            raise sqlite3.OperationalError("another process has locked it")
        time.sleep(0.02)


def _uses_wal(connection: sqlite3.Connection) -> bool:
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
    for start in range(0, len(keys), _MAX_KEYS):
        batch = keys[start : start + _MAX_KEYS]
        # In the order of ids, so that each page is read once.
        marks = ",".join("?" * len(batch))
        ids = f"SELECT id FROM vectors WHERE key IN ({marks})"  # noqa: S608 -- marks, no values
        columns = "key, checksum, used, vector"
        yield connection.execute(
            f"SELECT {columns} FROM vectors WHERE id IN ({ids})",  # noqa: S608 -- as above
            batch,
        ).fetchall()


def _verify(connection: sqlite3.Connection, keys: Sequence[bytes]) -> None:
    """Raise unless the vectors just written can be read; a damaged index shows only here."""
    found = {row[0] for rows in _select(connection, keys) for row in rows if _is_intact(row)}
    if not found.issuperset(keys):
        raise sqlite3.DatabaseError("vectors just written cannot be read")


def _checksum(key: bytes, vector: bytes) -> int:
    return zlib.crc32(vector, zlib.crc32(key))


def _is_intact(row: _Row) -> bool:
    key, checksum, _, vector = row
    # A damaged row can have values of any type.
    return type(key) is type(vector) is bytes and checksum == _checksum(key, vector)


def _bytes_used(connection: sqlite3.Connection) -> int:
    pages = _number(connection, "PRAGMA page_count") - _number(connection, "PRAGMA freelist_count")
    return pages * _number(connection, "PRAGMA page_size")


def _evict(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Delete the least recently used vectors if the file is too large."""
    if _bytes_used(connection) <= max_bytes:
        return
    # A tenth more than necessary, so that this happens seldom.
    while _bytes_used(connection) > 0.9 * max_bytes:
        evicted = connection.execute(
            "DELETE FROM vectors WHERE id IN (SELECT id FROM vectors ORDER BY used, id LIMIT ?)",
            (_EVICTION_BATCH,),
        )
        if not evicted.rowcount:
            return


def _shrink(connection: sqlite3.Connection, max_bytes: int) -> None:
    """Return free pages to the disk if they make the file too large."""
    pages = _number(connection, "PRAGMA page_count")
    excess = pages - max_bytes // _number(connection, "PRAGMA page_size")
    if excess > 0:
        # As a script, because `execute` would stop after one page.
        connection.executescript(f"PRAGMA incremental_vacuum({excess})")


_shared: weakref.WeakValueDictionary[VectorCache, VectorFile] = weakref.WeakValueDictionary()


def vector_file(cache: VectorCache) -> VectorFile:
    """Return the file of a cache; all objects of the process share it."""
    with no_fork():
        file = _shared.get(cache)
        if file is None:
            file = VectorFile(cache.folder / NAME, max_bytes=cache.max_bytes)
            _shared[cache] = file
        return file
