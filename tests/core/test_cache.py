"""Where vectors are kept, how they are named, and what becomes of a file that is damaged."""

from __future__ import annotations

import logging
import os
import pickle
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qwen_embed import VectorCache
from qwen_embed.cached_rows import Keys, pack_sparse, unpack_dense, unpack_sparse
from qwen_embed.settings import EmbeddingSettings
from qwen_embed.sparse import SparseRow
from qwen_embed.vector_file import NAME, VectorFile, vector_file

MIB = 1024**2
VECTORS = {b"key %d" % n: os.urandom(256) for n in range(700)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "vectors" / NAME


def opened(path, *, max_bytes=100 * MIB, clock=lambda: 0.0):
    return VectorFile(path, max_bytes=max_bytes, clock=clock)


def written(path, vectors=VECTORS):
    """Write vectors, and leave nothing but the file."""
    file = opened(path)
    file.write(vectors)
    file.close()


class TestVectorCache:
    def test_a_folder_is_absolute(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)

        assert VectorCache("vectors").folder == tmp_path / "vectors"
        assert VectorCache("~/vectors").folder == Path.home() / "vectors"

    def test_too_few_bytes_are_refused(self):
        with pytest.raises(ValueError, match="1,048,576 or more, not 1,048,575"):
            VectorCache("vectors", max_bytes=MIB - 1)

    def test_a_pickle_is_the_same_cache(self):
        cache = VectorCache("vectors", max_bytes=5 * MIB)

        assert pickle.loads(pickle.dumps(cache)) == cache != VectorCache("vectors")

    def test_objects_of_one_folder_share_its_file(self, tmp_path):
        assert vector_file(VectorCache(tmp_path)) is vector_file(VectorCache(str(tmp_path)))

    def test_nothing_is_made_before_it_is_used(self, tmp_path):
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

    def test_every_option_that_is_dumped_counts_but_for_empty_texts(self):
        options = EmbeddingSettings(api_key="sk-1").vector_options
        keys = {name: Keys({**options, name: "else"}, "query", "dense").of("a") for name in options}

        same = {name for name, changed in keys.items() if changed == key(text_type="query")}
        assert same == {"empty_text"}
        assert len(set(keys.values())) == len(options)

    def test_an_instruction_counts_for_queries_only(self):
        assert key(instruct="x") == key()
        assert key(text_type="query", instruct="x") != key(text_type="query")

    def test_options_that_change_no_vector_do_not_count(self):
        assert key(batch_size=3, region="intl", empty_text="zero") == key()


class TestPacking:
    def test_dense_rows_are_their_float32_values(self):
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
    def test_a_sparse_row_keeps_its_tokens(self, row):
        assert unpack_sparse(pack_sparse(row)) == row


class TestVectorFile:
    def test_what_is_written_is_read_by_other_processes_too(self, path):
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

    def test_files_that_are_made_at_the_same_time_are_one(self, path):
        files = [opened(path) for _ in range(8)]
        ready = threading.Barrier(8)

        def write(n):
            ready.wait()
            files[n].write({b"%d" % n: b"vector"})

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(write, range(8)))

        assert len(files[0].read([b"%d" % n for n in range(8)])) == 8

    def test_the_file_is_found_again_where_its_folder_was_removed(self, path, caplog):
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

    def test_the_oldest_go_first(self, path):
        file = opened(path, max_bytes=MIB)
        for start in range(0, 600, 50):
            file.write(self.vectors(start, start + 50))

        left = sorted(int(key) for key in file.read([b"%d" % n for n in range(600)]))
        file.close()

        assert left == list(range(left[0], 600))
        assert 100 < len(left) < 250
        assert path.stat().st_size <= MIB

    def test_what_was_used_stays(self, path):
        hour = 0
        file = opened(path, max_bytes=MIB, clock=lambda: hour * 3600.0)
        file.write(self.vectors(0, 180))
        hour = 1
        assert len(file.read([b"3", b"7"])) == 2
        file.writing.submit(lambda: None).result()  # after what reading left to it

        file.write(self.vectors(180, 300))

        assert file.read([b"%d" % n for n in range(10)]).keys() == {b"3", b"7"}

    def test_reading_writes_nothing_where_there_is_room(self, path):
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

    def test_a_smaller_bound_makes_the_file_smaller(self, path):
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


def heals(path, caplog):
    """Assert that whatever is read is right, and that all works again, with a warning."""
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

        heals(path, caplog)

    def test_a_flipped_bit_of_a_vector_costs_that_vector(self, path, caplog):
        written(path)
        flip(path, path.read_bytes().index(VECTORS[b"key 5"]) + 100)

        read = heals(path, caplog)

        assert VECTORS.keys() - read.keys() == {b"key 5"}
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        assert "damaged" in caplog.text

    @pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.7, 0.99])
    def test_a_file_that_was_cut_short_is_made_anew(self, path, caplog, part):
        written(path)
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * part)])

        heals(path, caplog)

        if part in (0.01, 0.3, 0.7):
            assert "It is made anew" in caplog.text

    def test_a_file_that_is_cut_short_while_it_is_open_is_made_anew(self, path, caplog):
        file = opened(path)
        file.write(VECTORS)
        file.close()
        file.read([b"key 1"])
        os.truncate(path, path.stat().st_size // 2)

        assert file.read(list(VECTORS)).items() <= VECTORS.items()
        file.write(VECTORS)
        assert file.read(list(VECTORS)) == VECTORS

    def test_what_is_no_database_is_moved_aside(self, path, caplog):
        path.parent.mkdir()
        path.write_text("a letter\n" * 1000)

        assert heals(path, caplog) == {}

        assert path.with_name(f"{NAME}.damaged").read_text() == "a letter\n" * 1000
        assert len(caplog.records) == 1

    @pytest.mark.parametrize(
        "statement", ["CREATE TABLE vectors (text)", "CREATE TABLE notes (id INTEGER PRIMARY KEY)"]
    )
    def test_a_database_of_something_else_is_moved_aside(self, path, caplog, statement):
        path.parent.mkdir()
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()

        assert heals(path, caplog) == {}

        assert "written by something else" in caplog.text
        assert path.with_name(f"{NAME}.damaged").exists()

    def test_another_version_is_moved_aside(self, path, caplog):
        written(path)
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA user_version = 2")
        connection.close()

        assert heals(path, caplog) == {}

        assert "written by something else" in caplog.text

    def test_what_another_process_made_anew_is_left_alone(self, path, caplog):
        written(path)
        stale = opened(path)
        stale.read([b"key 1"])
        path.unlink()
        written(path, {b"new": b"vector"})

        stale._cope(sqlite3.DatabaseError("malformed"))

        assert stale.read([b"new"]) == {b"new": b"vector"}
        assert not path.with_name(f"{NAME}.damaged").exists()


class TestDisk:
    def test_a_folder_that_cannot_be_made_is_told_of_once(self, tmp_path, caplog):
        (tmp_path / "file").touch()
        file = opened(tmp_path / "file" / NAME)

        for _ in range(3):
            file.write(VECTORS)
            assert file.read(list(VECTORS)) == {}

        assert len(caplog.records) == 1

    def test_a_folder_that_cannot_be_written_is_read(self, path, caplog, monkeypatch):
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

    def test_a_full_disk_keeps_what_there_is(self, path, caplog):
        file = opened(path)
        file.write({b"key": b"vector"})
        with file._writer.open() as connection:
            connection.execute("PRAGMA max_page_count = 6")

        for _ in range(3):
            file.write({b"%d" % n: bytes(4096) for n in range(100)})

        assert file.read([b"key", b"1"]) == {b"key": b"vector"}
        assert len(caplog.records) == 1
        assert "full" in caplog.text

    def test_a_file_that_stays_locked_is_told_of(self, path, caplog, monkeypatch):
        monkeypatch.setattr("qwen_embed.vector_file._BUSY_SECONDS", 0.05)
        written(path)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        file = opened(path)

        file.write({b"new": b"vector"})

        assert file.read(list(VECTORS)) == VECTORS  # which waits for nobody
        other.close()
        assert "locked" in caplog.text
