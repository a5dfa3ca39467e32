"""A file of vectors by key, on SQLite: bounded, checked, and shared by threads and processes.

Everything in it can be requested again, so a fault of the file is logged and costs requests, no
more.
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

    Everything here blocks: run it in `reading` and `writing`.

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
        opened = OpenFile(path, _open)
        self.reading = opened.reading
        self.writing = opened.writing
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._reader = opened.reader
        self._writer = opened.writer
        self._told: set[str] = set()
        forgotten = weakref.finalize(self, opened.let_go)
        forgotten.atexit = False  # cancelled calls still write then; see `aclose`

    def read(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the vectors that are there, by key; damaged ones are left out."""
        rows: list[_Row] = []
        used_before: list[bytes] = []
        now = self._hour()
        try:
            with self._reader.open() as connection:
                for some in _select(connection, keys):
                    rows += some
                # When it was used matters only if something may have to be evicted.
                if 2 * _bytes_used(connection) > self._max_bytes:
                    used_before = [row[0] for row in rows if row[2] != now]
        except FileError as error:
            self._cope(error)
        if used_before:
            self.writing.submit(self._touch, used_before)
        vectors = {row[0]: row[3] for row in rows if _is_sound(row)}
        if len(vectors) < len(rows):
            self._tell("Vectors of the cache %s are damaged. They are paid for again.", self._path)
        return vectors

    def write(self, vectors: Mapping[bytes, bytes]) -> None:
        """Keep vectors; if there is no room, those used least recently are evicted."""
        now = self._hour()
        rows = [(key, _checksum(key, vector), now, vector) for key, vector in vectors.items()]
        try:
            self._insert(rows)
        except FileError as error:
            if self._cope(error):
                with suppress(FileError):
                    self._insert(rows)

    def close(self) -> None:
        """Close the file, or have whoever uses it now close it afterwards; never waits.

        The next use opens it again.
        """
        self._reader.close()
        self._writer.close()

    async def aclose(self) -> None:
        """Close the file once everything submitted to `writing` is written."""
        await asyncio.wrap_future(self.writing.submit(self.close))

    def _hour(self) -> int:
        # When a vector was used is kept to the hour, so that reading seldom writes.
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
            self._cope(error)

    def _cope(self, error: FileError) -> bool:
        """Log an error, and return whether it was damage and the file can be recreated."""
        if not error.is_damage:
            self._tell(
                "The cache %s cannot be used: %s. Texts are paid for again.", self._path, error
            )
            return False
        aside = self._path.with_name(f"{NAME}.damaged")
        try:
            with self._reader.closed(), self._writer.closed():
                # If it is another file by now, somebody has recreated it already.
                damaged = error.identity is not None and identity_of(self._path) == error.identity
                if damaged:
                    for end in ("-wal", "-shm"):
                        Path(f"{self._path}{end}").unlink(missing_ok=True)
                    self._path.replace(aside)
        except OSError as failure:
            self._tell("The damaged cache %s cannot be moved: %s.", self._path, failure)
            return False
        if damaged:
            _warn(
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
            _warn(message, *details)


def _warn(message: str, *details: object) -> None:
    # As text: an error that a handler keeps would keep this file open, by its traceback.
    _log.warning(message, *map(str, details))


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
            # Ours always log ahead, and whoever has it open then does not lock it that way.
            if _number(connection, "PRAGMA page_count"):
                raise sqlite3.DatabaseError("its header is damaged")
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


_shared: weakref.WeakValueDictionary[VectorCache, VectorFile] = weakref.WeakValueDictionary()


def vector_file(cache: VectorCache) -> VectorFile:
    """Return the file of a cache, which all objects of the process share."""
    with no_fork():
        file = _shared.get(cache)
        if file is None:
            file = VectorFile(cache.folder / NAME, max_bytes=cache.max_bytes)
            _shared[cache] = file
        return file
