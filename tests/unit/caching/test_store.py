"""The file of the cache: its keys, evictions, damage, threads and forks."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qwen_embed import VectorCache
from qwen_embed.caching import connection as file_connection
from qwen_embed.caching.collector import (
    CachingCollector,
    Keys,
    pack_sparse,
    unpack_dense,
    unpack_sparse,
)
from qwen_embed.caching.connection import FileError
from qwen_embed.caching.store import NAME, VectorFile, vector_file
from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.protocols.base import ParsedResponse
from qwen_embed.sparse import SparseRow

MIB = 1024**2
VECTORS = {b"key %d" % n: os.urandom(256) for n in range(700)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vectors" / NAME


def opened(path, *, max_bytes=100 * MIB, clock=lambda: 0.0):
    return VectorFile(path, max_bytes=max_bytes, clock=clock)


def written(path, vectors=VECTORS):
    """Write vectors, and close the file."""
    file = opened(path)
    file.write(vectors)
    file.close()


class TestVectorCache:
    def test_a_folder_is_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        assert VectorCache("vectors").folder == tmp_path / "vectors"
        assert VectorCache("~/vectors").folder == Path.home() / "vectors"

    def test_too_few_bytes_are_rejected(self):
        with pytest.raises(ValueError, match="1,048,576 or more, not 1,048,575"):
            VectorCache("vectors", max_bytes=MIB - 1)

    @pytest.mark.parametrize("name", ["a\0b", "a\ud800", "~no one of this name/vectors"])
    def test_an_invalid_folder_name_is_rejected(self, name):
        with pytest.raises(ValueError, match=r"null character|surrogates|cannot be found"):
            VectorCache(name)

    def test_a_pickle_is_the_same_cache(self):
        cache = VectorCache("vectors", max_bytes=5 * MIB)

        assert pickle.loads(pickle.dumps(cache)) == cache != VectorCache("vectors")

    def test_objects_of_one_folder_share_its_file(self, tmp_path):
        assert vector_file(VectorCache(tmp_path)) is vector_file(VectorCache(str(tmp_path)))

    def test_no_file_is_created_before_its_first_use(self, tmp_path):
        EmbeddingSettings(api_key="sk-1", cache=tmp_path / "vectors")

        assert list(tmp_path.iterdir()) == []


def key(text="a", text_type="document", kind="dense", **options):
    return Keys(EmbeddingSettings(api_key="sk-1", **options).vector_options, text_type, kind).of(
        text
    )


class TestKeys:
    @pytest.mark.parametrize(
        "change",
        [
            {"text": "b"},
            {"text_type": "query"},
            {"kind": "sparse"},
            {"model": "text-embedding-v3"},
            {"dimension": 64},
            {"normalize": True},
            {"long_text": "average"},
        ],
    )
    def test_what_changes_a_vector_changes_its_key(self, change):
        assert key() != key(**change)

    def test_every_dumped_option_except_empty_text_is_part_of_the_key(self):
        options = EmbeddingSettings(api_key="sk-1").vector_options
        keys = {name: Keys({**options, name: "else"}, "query", "dense").of("a") for name in options}

        same = {name for name, changed in keys.items() if changed == key(text_type="query")}
        assert same == {"empty_text"}
        assert len(set(keys.values())) == len(options)

    def test_an_instruction_is_part_of_the_key_for_queries_only(self):
        assert key(instruct="x") == key()
        assert key(text_type="query", instruct="x") != key(text_type="query")

    def test_options_that_change_no_vector_are_not_part_of_the_key(self):
        assert key(batch_size=3, region="intl", empty_text="zero") == key()


class TestPacking:
    def test_dense_vectors_are_stored_as_float32(self):
        rows = np.random.default_rng(0).standard_normal((3, 5)).astype("<f4")
        packed = [row.tobytes() for row in rows]

        lists = unpack_dense(packed, 5, arrays=False)

        assert lists == rows.tolist()
        assert {type(value) for row in lists for value in row} == {float}
        assert np.array_equal(unpack_dense(packed, 5, arrays=True), rows)

    @pytest.mark.parametrize(
        "row",
        [
            SparseRow((), ()),
            SparseRow((0, 2**32 - 2), (0.5, 2.0), ("风", "")),
            SparseRow((7,), (1.0,)),
        ],
    )
    def test_a_sparse_vector_keeps_its_tokens(self, row):
        assert unpack_sparse(pack_sparse(row)) == row


class TestVectorFile:
    def test_vectors_are_readable_by_other_processes(self, path):
        file = opened(path)

        file.write(VECTORS)

        assert file.read([*VECTORS, b"another"]) == VECTORS
        assert opened(path).read(list(VECTORS)) == VECTORS

    def test_a_vector_that_is_written_again_replaces_the_old_one(self, path):
        file = opened(path)
        file.write({b"key": b"old"})

        file.write({b"key": b"new"})

        assert file.read([b"key"]) == {b"key": b"new"}

    def test_many_threads_read_and_write(self, path):
        file = opened(path)
        parts = [dict(list(VECTORS.items())[n::16]) for n in range(16)]

        def write_and_read(part):
            file.write(part)
            return file.read(list(part))

        with ThreadPoolExecutor(16) as threads:
            assert list(threads.map(write_and_read, parts)) == parts

    def test_a_file_created_by_several_at_once_is_one_file(self, path):
        files = [opened(path) for _ in range(8)]
        ready = threading.Barrier(8)

        def write(n):
            ready.wait()
            files[n].write({b"%d" % n: b"vector"})

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(8)))

        assert len(files[0].read([b"%d" % n for n in range(8)])) == 8

    def test_the_file_is_created_again_after_its_folder_was_removed(self, path, caplog):
        file = opened(path)
        file.write(VECTORS)
        for left in path.parent.iterdir():
            left.unlink()
        path.parent.rmdir()

        assert file.read(list(VECTORS)) == {}
        file.write(VECTORS)

        assert file.read(list(VECTORS)) == opened(path).read(list(VECTORS)) == VECTORS
        assert caplog.records == []


class TestRoom:
    def vectors(self, start, stop):
        return {b"%d" % n: bytes(4096) for n in range(start, stop)}

    def test_the_oldest_vectors_are_evicted_first(self, path):
        file = opened(path, max_bytes=MIB)
        for start in range(0, 600, 50):
            file.write(self.vectors(start, start + 50))

        left = sorted(int(key) for key in file.read([b"%d" % n for n in range(600)]))
        file.close()

        assert left == list(range(left[0], 600))
        assert 100 < len(left) < 250
        assert path.stat().st_size <= MIB

    def test_a_vector_used_recently_is_not_evicted(self, path):
        hour = 0
        file = opened(path, max_bytes=MIB, clock=lambda: hour * 3600.0)
        file.write(self.vectors(0, 180))
        hour = 1
        assert len(file.read([b"3", b"7"])) == 2
        file.writing.submit(
            lambda: None
        ).result()  # runs after the writes that reading has submitted

        file.write(self.vectors(180, 300))

        assert file.read([b"%d" % n for n in range(10)]).keys() == {b"3", b"7"}

    def test_reading_writes_nothing_if_there_is_room(self, path):
        hour = 0
        file = opened(path, clock=lambda: hour * 3600.0)
        file.write(VECTORS)
        file.close()
        before = path.read_bytes()
        hour = 1

        assert file.read(list(VECTORS)) == VECTORS
        file.writing.submit(lambda: None).result()
        file.close()

        assert path.read_bytes() == before

    def test_a_smaller_maximum_shrinks_the_file(self, path):
        file = opened(path)
        file.write(self.vectors(0, 1000))
        file.close()
        file = opened(path, max_bytes=MIB)

        file.write({b"one": b"more"})
        file.close()

        assert path.stat().st_size <= MIB
        assert file.read([b"one"]) == {b"one": b"more"}


def flip(path, at):
    content = bytearray(path.read_bytes())
    content[at] ^= 1 << at % 8
    path.write_bytes(content)


def recovers(path, caplog):
    """Assert that no vector read is wrong and that the file works again; return what was read."""
    file = opened(path)
    read = file.read(list(VECTORS))
    assert read.items() <= VECTORS.items()
    file.write(VECTORS)
    file.write(VECTORS)
    assert file.read(list(VECTORS)) == VECTORS
    file.close()
    return read


class TestDamage:
    @pytest.mark.parametrize("seed", range(40))
    def test_a_flipped_bit_is_never_a_wrong_vector(self, path, caplog, seed):
        written(path)
        flip(path, int(np.random.default_rng(seed).integers(path.stat().st_size)))

        recovers(path, caplog)

    def test_a_flipped_bit_in_a_vector_loses_only_that_vector(self, path, caplog):
        written(path)
        flip(path, path.read_bytes().index(VECTORS[b"key 5"]) + 100)

        read = recovers(path, caplog)

        assert VECTORS.keys() - read.keys() == {b"key 5"}
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "damaged" in caplog.text

    def test_a_damaged_name_in_the_file_is_recognized_as_damage(self, path, caplog):
        written(path)
        content = path.read_bytes()
        start = content.index(b"CREATE INDEX by_use")

        for at in range(start - 20, start + 40):
            path.write_bytes(content[:at] + bytes([content[at] ^ 0x80]) + content[at + 1 :])
            recovers(path, caplog)

        assert "It is recreated" in caplog.text

    @pytest.mark.parametrize("at", [18, 19, 47])
    def test_a_header_of_a_future_version_is_recognized_as_damage(self, path, caplog, at):
        written(path)
        content = path.read_bytes()
        path.write_bytes(content[:at] + bytes([content[at] ^ 0x40]) + content[at + 1 :])

        recovers(path, caplog)

    @pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.99])
    def test_a_truncated_file_is_recreated(self, path, caplog, part):
        written(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])

        recovers(path, caplog)

        if part in (0.01, 0.3, 0.7):
            assert "It is recreated" in caplog.text

    def test_a_file_truncated_while_it_is_open_is_recreated(self, path, caplog):
        file = opened(path)
        file.write(VECTORS)
        file.close()
        file.read([b"key 1"])
        os.truncate(path, path.stat().st_size // 2)

        assert file.read(list(VECTORS)).items() <= VECTORS.items()
        file.write(VECTORS)
        assert file.read(list(VECTORS)) == VECTORS

    @pytest.mark.skipif(
        sys.version_info < (3, 11), reason="sqlite3 does not distinguish these errors"
    )
    def test_a_log_truncated_while_others_have_it_open_is_recognized_as_damage(self, path, caplog):
        other = opened(path)
        other.write(VECTORS)
        os.truncate(path.with_name(f"{NAME}-wal"), 0)

        recovers(path, caplog)

        assert "It is recreated" in caplog.text

    def test_a_file_that_is_not_a_database_is_moved_aside(self, path, caplog):
        path.parent.mkdir()
        path.write_text("a letter\n" * 1000)

        assert recovers(path, caplog) == {}

        assert path.with_name(f"{NAME}.damaged").read_text() == "a letter\n" * 1000
        assert len(caplog.records) == 1

    @pytest.mark.parametrize(
        "statement", ["CREATE TABLE vectors (text)", "CREATE TABLE notes (id INTEGER PRIMARY KEY)"]
    )
    def test_a_database_of_another_program_is_moved_aside(self, path, caplog, statement):
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()

        assert recovers(path, caplog) == {}

        assert "written by another program" in caplog.text
        assert path.with_name(f"{NAME}.damaged").exists()

    def test_another_version_is_moved_aside(self, path, caplog):
        written(path)
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 2")
        connection.close()

        assert recovers(path, caplog) == {}

        assert "written by another program" in caplog.text

    def test_a_file_recreated_by_another_process_is_left_alone(self, path, caplog):
        written(path)
        stale = opened(path)
        stale.read([b"key 1"])
        found_damaged = FileError(
            sqlite3.DatabaseError("malformed"), file_connection.identity_of(path)
        )
        path.rename(path.with_name("old"))
        written(path, {b"new": b"vector"})
        assert stale.read([b"new"]) == {b"new": b"vector"}

        stale._recover(found_damaged)

        assert stale.read([b"new"]) == {b"new": b"vector"}
        assert not path.with_name(f"{NAME}.damaged").exists()


class TestDisk:
    def test_a_folder_that_cannot_be_created_is_logged_once(self, tmp_path, caplog):
        (tmp_path / "file").touch()
        file = opened(tmp_path / "file" / NAME)

        for _ in range(3):
            file.write(VECTORS)
            assert file.read(list(VECTORS)) == {}

        assert len(caplog.records) == 1

    def test_a_read_only_folder_is_read(self, path, caplog, monkeypatch):
        written(path)
        monkeypatch.setattr(os, "access", lambda *_: False)
        file = opened(path)

        assert file.read(list(VECTORS)) == VECTORS
        assert caplog.records == []
        for _ in range(3):
            file.write({b"new": b"vector"})

        assert file.read([b"new"]) == {}
        assert len(caplog.records) == 1
        assert "readonly" in caplog.text
        assert [each.name for each in path.parent.iterdir()] == [NAME]

    def test_a_full_disk_keeps_the_stored_vectors(self, path, caplog, monkeypatch):
        file = opened(path)
        file.write({b"key": b"vector"})
        connect = file._writer._connect

        def connect_full(path):
            connection = connect(path)
            connection.execute("PRAGMA max_page_count = 6")
            return connection

        file.close()
        monkeypatch.setattr(file._writer, "_connect", connect_full)

        for _ in range(3):
            file.write({b"%d" % n: bytes(4096) for n in range(100)})

        assert file.read([b"key", b"1"]) == {b"key": b"vector"}
        assert len(caplog.records) == 1
        assert "full" in caplog.text

    def test_a_header_that_locks_others_out_is_recognized_as_damage(
        self, path, caplog, monkeypatch
    ):
        monkeypatch.setattr("qwen_embed.caching.store._BUSY_SECONDS", 0.05)
        written(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM vectors").fetchone()
        file = opened(path)

        for _ in range(2):
            file.write(VECTORS)

        assert file.read(list(VECTORS)) == VECTORS
        assert "It is recreated" in caplog.text
        other.close()

    def test_a_file_that_stays_locked_is_logged(self, path, caplog, monkeypatch):
        monkeypatch.setattr("qwen_embed.caching.store._BUSY_SECONDS", 0.05)
        written(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        file = opened(path)

        file.write({b"new": b"vector"})

        assert file.read(list(VECTORS)) == VECTORS  # does not wait for the lock
        other.close()
        assert "locked" in caplog.text


def read_later(path, setup=""):
    """Read vectors an hour after they were written, in a thread that outlives the main thread.

    Returns:
        The standard output of the process.
    """
    program = f"""
import pathlib, sys, threading
from qwen_embed.caching.store import VectorFile
keys = [b"key %d" % n for n in range(700)]
file = VectorFile(pathlib.Path(sys.argv[1]), max_bytes=1, clock=lambda: 3600.0)
def outlive():
    threading.main_thread().join()
    {setup}
    print(len(file.read(keys)), flush=True)
    file.writing.submit(lambda: None).result()
threading.Thread(target=outlive).start()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout


def damage_what_reading_does_not_read(path):
    """Overwrite the index of the time of use."""
    connection = sqlite3.connect(path)
    (page,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = 'by_use'")
    connection.close()
    size = 32 * 1024
    content = bytearray(path.read_bytes())
    content[(page[0] - 1) * size : page[0] * size] = b"\xff" * size
    path.write_bytes(content)


class TestEnd:
    @pytest.mark.parametrize(
        "setup",
        [
            "pass",
            "threading.Thread.start = lambda self: (_ for _ in ()).throw(RuntimeError('end'))",
        ],
        ids=["threads start", "no thread starts"],
    )
    def test_a_damaged_file_is_recreated_after_the_end_of_the_main_thread(self, path, setup):
        written(path)
        damage_what_reading_does_not_read(path)

        assert read_later(path, setup) == "700\n"

        assert path.with_name(f"{NAME}.damaged").exists()

    async def test_what_was_submitted_is_written_before_the_file_is_closed(self, path):
        file = opened(path)
        for n in range(20):
            file.writing.submit(file.write, {b"%d" % n: b"vector"})

        await file.aclose()

        assert not path.with_name(f"{NAME}-wal").exists()
        assert len(opened(path).read([b"%d" % n for n in range(20)])) == 20

    def test_a_garbage_collected_file_ends_its_threads(self, path, caplog):
        path.parent.mkdir()
        path.write_text("a letter\n" * 1000)
        file = opened(path)
        file.read(list(VECTORS))  # logs an error
        threads = [each.submit(threading.current_thread) for each in (file.reading, file.writing)]
        threads = [each.result(30) for each in threads]

        del file

        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()


class TestLocks:
    def test_closing_does_not_wait_and_the_current_user_closes_the_file(self, path):
        file = opened(path)
        file.write(VECTORS)
        wal = path.with_name(f"{NAME}-wal")

        with ThreadPoolExecutor(1) as thread, file._reader.open(), file._writer.open():
            thread.submit(file.close).result(30)
            file.close()
            assert wal.exists()

        assert not wal.exists()
        assert file.read(list(VECTORS)) == VECTORS

    def test_nothing_is_submitted_while_the_file_is_held(self, path, monkeypatch):
        file = opened(path, max_bytes=1, clock=lambda: 3600.0)
        written(path)
        held = []

        def submit(work, *args):
            with ThreadPoolExecutor(1) as thread:
                free = thread.submit(file._reader._lock.acquire, blocking=False).result(30)
            held.append(not free)

        monkeypatch.setattr(file.writing, "submit", submit)

        file.read(list(VECTORS))

        assert held == [False]

    def test_nothing_is_logged_while_the_file_is_held(self, path, monkeypatch):
        path.parent.mkdir()
        path.write_text("a letter\n" * 1000)
        file = opened(path)
        other = ThreadPoolExecutor(1)
        closings = []

        class Closes(logging.Handler):
            def emit(self, record):
                locks = [each._lock.acquire for each in (file._reader, file._writer)]
                closings.extend(other.submit(lock, timeout=0).result(30) for lock in locks)

        handler = Closes()
        logging.getLogger("qwen_embed").addHandler(handler)
        with other:
            monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("busy")))
            file.read([b"key 1"])
        logging.getLogger("qwen_embed").removeHandler(handler)

        assert closings == [True, True]


def interrupted_everywhere(run):
    """Run a function again and again, interrupt each run a little later, and yield after each.

    Signals interrupt Python code after calls: here after calls of functions written in C in the
    modules of the cache.
    """
    for nth in itertools.count(1):
        count = 0

        def interrupt(frame, event, _, nth=nth):
            nonlocal count
            ours = Path(frame.f_code.co_filename).name in ("connection.py", "store.py")
            if event == "c_return" and ours:
                count += 1
                if count == nth:
                    raise KeyboardInterrupt

        sys.setprofile(interrupt)
        try:
            run()
        except KeyboardInterrupt:
            pass
        finally:
            sys.setprofile(None)
        if count < nth:
            return
        yield nth


class TestInterrupts:
    @pytest.mark.parametrize("later", [False, True])
    def test_the_file_is_usable_after_an_interrupt_at_any_point(self, path, monkeypatch, later):
        monkeypatch.setattr("qwen_embed.caching.store._BUSY_SECONDS", 0.0)
        hour = 0
        file = opened(path, max_bytes=MIB, clock=lambda: hour * 3600.0)

        def write():
            if later:
                file.close()
            file.write({b"%d" % n: bytes(128 * 1024) for n in range(10)})

        with ThreadPoolExecutor(1) as another:
            for nth in interrupted_everywhere(write):
                other = opened(path, max_bytes=MIB)
                other.write({b"other %d" % nth: b"vector"})  # not locked
                assert other.read([b"other %d" % nth]) == {b"other %d" % nth: b"vector"}
                other.close()
                another.submit(file.write, {b"key": b"vector"}).result(30)
                assert another.submit(file.read, [b"key"]).result(30) == {b"key": b"vector"}

    def test_a_vector_is_written_even_if_its_write_was_interrupted_before_submission(
        self, path, monkeypatch
    ):
        file = opened(path)
        rows = cached_rows(file, [f"text {n}" for n in range(200)])
        submit = file.writing.submit

        def interrupted(*_):
            monkeypatch.setattr(file.writing, "submit", submit)
            raise KeyboardInterrupt

        monkeypatch.setattr(file.writing, "submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rows.put(range(200), answer(200))
        asyncio.run(rows.save())

        assert len(file.read(keys_of(200))) == 200


class Collector:
    """Collects vectors, and the thread that put them."""

    arrays = False

    def __init__(self):
        self.put_by = []

    def put(self, indices, answer):
        self.put_by.append((list(indices), threading.get_ident()))


def cached_rows(file, texts, collector=None):
    return CachingCollector(
        collector or Collector(),
        file,
        texts=texts,
        keys={"dense": Keys({}, "document", "dense")},
        wanted=["dense"],
        dimension=None,
    )


def keys_of(count):
    return [Keys({}, "document", "dense").of(f"text {n}") for n in range(count)]


def answer(count):
    return ParsedResponse(dense=[[float(n), 0.5] for n in range(count)], tokens=0, request_id=None)


class TestFilling:
    async def filled(self, file, count):
        rows = cached_rows(file, [f"text {n}" for n in range(count)])
        rows.put(range(count), answer(count))
        await rows.save()

    async def test_vectors_are_put_by_the_calling_thread(self, path):
        file = opened(path)
        await self.filled(file, 300)
        collector = Collector()

        rows = cached_rows(file, [f"text {n}" for n in range(600)], collector)

        assert await rows.fill(range(600)) == list(range(300, 600))
        assert {thread for _, thread in collector.put_by} == {threading.get_ident()}
        assert [n for indices, _ in collector.put_by for n in indices] == list(range(300))

    @pytest.mark.parametrize("read", [False, True])
    async def test_nothing_is_put_for_a_cancelled_call(self, path, monkeypatch, read):
        file = opened(path)
        await self.filled(file, 10)
        collector = Collector()
        rows = cached_rows(file, [f"text {n}" for n in range(10)], collector)
        may_go_on = threading.Event()
        file.reading.submit(may_go_on.wait, 30)
        filling = asyncio.ensure_future(rows.fill(range(10)))
        await asyncio.sleep(0)
        if read:  # but the loop does not know it yet
            may_go_on.set()
            file.reading.submit(int).result(30)

        filling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await filling

        may_go_on.set()
        file.reading.submit(int).result(30)
        assert collector.put_by == []


FORKING = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def after_fork(program, path):
    """Run a program that forks; return its standard output and standard error."""
    preamble = """
import os, pathlib, signal, sys, threading, warnings
from qwen_embed.caching.store import VectorFile
warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork, 3.12
def opened():
    return VectorFile(pathlib.Path(sys.argv[1]), max_bytes=2**30)
def fork(work):
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        work()
        os._exit(0)
    return os.waitpid(child, 0)[1]
"""
    done = subprocess.run(
        [sys.executable, "-c", preamble + program, str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


@FORKING
class TestForks:
    def test_files_opened_and_closed_meanwhile_do_not_disturb_a_fork(self, path):
        program = """
sys.setswitchinterval(1e-6)
stop = threading.Event()
def come_and_go():
    while not stop.is_set():
        several = [opened() for _ in range(20)]
        del several
threads = [threading.Thread(target=come_and_go) for _ in range(2)]
[thread.start() for thread in threads]
print({fork(int) for _ in range(150)})
stop.set()
"""
        assert after_fork(program, path) == ("{0}\n", "")

    def test_a_fork_while_others_read_write_and_close_works_in_both(self, path):
        program = """
file = opened()
stop = threading.Event()
def write(n=0):
    while not stop.is_set():
        n += 1
        file.writing.submit(file.write, {b"%d" % (n % 50): bytes(4000)}).result()
def read():
    while not stop.is_set():
        file.reading.submit(file.read, [b"%d" % n for n in range(50)]).result()
        file.close()
threads = [threading.Thread(target=each) for each in (write, read)]
[thread.start() for thread in threads]
def use():
    file.writing.submit(file.write, {b"child": b"vector"}).result()
    assert file.reading.submit(file.read, [b"child"]).result() == {b"child": b"vector"}
print({fork(use) for _ in range(30)})
stop.set()
[thread.join() for thread in threads]
use()
"""
        assert after_fork(program, path) == ("{0}\n", "")

    def test_an_interrupted_fork_leaves_both_processes_with_the_file(self, path, monkeypatch):
        file = opened(path)
        file.write(VECTORS)

        def fork():
            try:
                file_connection._before_fork()
            finally:
                file_connection._after_fork(forked=False)

        interrupts = 0
        with ThreadPoolExecutor(1) as another:
            for _ in interrupted_everywhere(fork):
                interrupts += 1
                assert another.submit(file.read, list(VECTORS)).result(30) == VECTORS
                another.submit(file.write, VECTORS).result(30)
                assert another.submit(vector_file, VectorCache(path.parent)).result(30)
        assert interrupts > 5

    def test_a_file_stays_held_if_the_wait_for_it_is_interrupted(self, path, monkeypatch):
        file = opened(path)
        acquire = file_connection.FileConnection.hold

        def interrupted(self):
            acquire(self)
            monkeypatch.setattr(file_connection.FileConnection, "hold", acquire)
            raise KeyboardInterrupt

        monkeypatch.setattr(file_connection.FileConnection, "hold", interrupted)

        with ThreadPoolExecutor(1) as another:
            with pytest.raises(KeyboardInterrupt):
                file_connection._before_fork()
            using = another.submit(file.write, VECTORS)
            assert file._reader._lock._is_owned()
            assert file._writer._lock._is_owned()
            assert not using.done()
            file_connection._after_fork(forked=False)
            using.result(30)

        assert file.read(list(VECTORS)) == VECTORS
