"""The cache on disk under random use: damage, threads, forks, kills and full disks.

Never a wrong vector, never a hang, never an error; no text is paid for twice but those that were on
their way at a kill or a cancellation, were evicted, or were damaged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from hashlib import shake_128
from pathlib import Path

import numpy as np
import orjson
import pytest
from aiohttp import web
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from langchain_qwen_embed import QwenEmbeddings
from qwen_embed import QwenEmbedder, VectorCache
from qwen_embed.caching import connection as file_connection
from qwen_embed.caching import store as vector_file
from qwen_embed.caching.store import NAME, VectorFile

LONG = settings.default.max_examples > 100
ROUNDS = settings.default.max_examples // 50 if LONG else 1
"""Of what starts processes."""

MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def nobody_waits_long_for_a_lock():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vector_file, "_BUSY_SECONDS", 0.2)
        yield


# --- A service whose vectors tell what they were made for. ---


def expected_dense(text, role, *, instruct=None, dimension=None, model="text-embedding-v4"):
    """Return the one dense vector of a text, exact in float32."""
    asked = repr((text, role, instruct, dimension or 1024, model))
    numbers = shake_128(asked.encode()).digest(dimension or 1024)
    return (np.frombuffer(numbers, dtype=np.uint8).astype(np.float32) + 1) / 256


def expected_sparse(text, role, *, instruct=None, model="text-embedding-v4"):
    """Return the one sparse vector of a text."""
    numbers = shake_128(repr((text, role, instruct, model)).encode()).digest(8)
    return {index * 1000 + number: (number + 1) / 256 for index, number in enumerate(numbers)}


class FingerprintService:
    """Serves the native protocol on a loopback port, in a thread.

    Attributes:
        paid: How often each text was paid for, by text, role, instruct, dimension and model.
    """

    api_key = "sk-fingerprint"

    def __init__(self):
        self.paid = Counter()
        self._loop = asyncio.new_event_loop()

    def __enter__(self):
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(20)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)

    @property
    def native_url(self):
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/api/v1"

    async def _start(self):
        application = web.Application()
        application.router.add_post("/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()

    async def _answer(self, request):
        body = orjson.loads(await request.read())
        given, model = body["parameters"], body["model"]
        role, output = given["text_type"], given.get("output_type", "dense")
        instruct, dimension = given.get("instruct"), given.get("dimension")
        rows = []
        for index, text in enumerate(body["input"]["texts"]):
            self.paid[text, role, instruct, dimension, model] += 1
            row = {"text_index": index}
            if "dense" in output:
                row["embedding"] = expected_dense(
                    text, role, instruct=instruct, dimension=dimension, model=model
                ).tolist()
            if "sparse" in output:
                entries = expected_sparse(text, role, instruct=instruct, model=model)
                row["sparse_embedding"] = [
                    {"index": index, "value": value, "token": f"token-{index}"}
                    for index, value in entries.items()
                ]
            rows.append(row)
        answer = {"output": {"embeddings": rows[::-1]}, "request_id": "1"}
        return web.Response(body=orjson.dumps(answer), content_type="application/json")


# --- The file. ---


def flip(path, chance):
    content = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 1, 8, 200])):
        if content:
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def overwrite(path, chance):
    with path.open("r+b") as file:
        file.seek(chance.randrange(path.stat().st_size + 1))
        file.write(chance.randbytes(chance.choice([10, 1000, 40_000])))


def truncate(path, chance):
    os.truncate(path, chance.randrange(path.stat().st_size + 1))


def delete(path, chance):
    path.unlink()


def replace_by_garbage(path, chance):
    other = path.with_name("other")
    other.write_bytes(chance.randbytes(50_000))
    other.replace(path)


def replace_by_another_database(path, chance):
    other = path.with_name("other")
    other.unlink(missing_ok=True)
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY)")
    connection.commit()
    connection.close()
    other.replace(path)


def copy_another_database_in(path, chance):
    replace_by_another_database(path.with_name("source"), chance)
    shutil.copyfile(path.with_name("source"), path)


DAMAGE = (
    flip,
    overwrite,
    truncate,
    delete,
    replace_by_garbage,
    replace_by_another_database,
    copy_another_database_in,
)


def damage(folder, how, end, seed):
    """Damage the file, or the log beside it."""
    path = folder / f"{NAME}{end}"
    if path.exists():
        how(path, random.Random(seed))  # noqa: S311 -- no secret


damages = {
    "how": st.sampled_from(DAMAGE),
    "end": st.sampled_from(["", "", "", "-wal"]),
    "seed": st.integers(0, 2**32),
}


class Forgetful(set):
    """What is known to be in a cache that was damaged, or that has little room: nothing."""

    def __ior__(self, other):
        return self


def vector_of(key):
    return shake_128(key).digest(400 + key[-1] % 7 * 1000)


keys = st.lists(st.integers(0, 150).map(b"key %d".__mod__), max_size=40)
which = st.integers(0, 2)


class Files(RuleBasedStateMachine):
    """Several files of one name, each used as if the others were another process's."""

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.hour = 0
        self.kept = set()

    @initialize(max_bytes=st.sampled_from([300_000, 100 * MIB, 100 * MIB]))
    def open(self, max_bytes):
        self.max_bytes = max_bytes
        if max_bytes < MIB:
            self.kept = Forgetful()
        self.files = [self.opened() for _ in range(3)]

    def opened(self):
        return VectorFile(
            self.folder / NAME, max_bytes=self.max_bytes, clock=lambda: self.hour * 3600.0
        )

    def check(self, found, asked):
        assert all(vector_of(key) == vector for key, vector in found.items())
        assert self.kept.intersection(asked) <= found.keys()

    @rule(which=which, keys=keys)
    def write(self, which, keys):
        self.files[which].write({key: vector_of(key) for key in keys})
        self.kept |= set(keys)

    @rule(which=which, keys=keys)
    def read(self, which, keys):
        self.check(self.files[which].read(keys), keys)

    @rule(which=which)
    def close(self, which):
        self.files[which].close()

    @rule(which=which)
    def forget(self, which):
        self.files[which] = self.opened()

    @rule()
    def wait_an_hour(self):
        self.hour += 1

    @rule()
    def fork(self):
        file_connection._before_fork()
        file_connection._after_fork(forked=False)

    @rule(whiches=st.lists(which, min_size=2, max_size=4), keys=keys)
    def use_from_threads(self, whiches, keys):
        def use(which):
            file = self.files[which]
            self.check(file.read(keys), keys)
            file.write({key: vector_of(key) for key in keys[which::2]})
            self.check(file.read(keys), keys)

        with ThreadPoolExecutor(4) as threads:
            list(threads.map(use, whiches))

    @rule(keys=keys)
    def read_from_a_folder_that_cannot_be_written(self, keys):
        for file in self.files:
            file.close()
        file = self.opened()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "access", lambda *_: False)
            self.check(file.read(keys), keys)
            file.write({key: vector_of(key) for key in keys})
            self.check(file.read(keys), keys)
            file.close()

    @rule(**damages)
    def damage(self, how, end, seed):
        damage(self.folder, how, end, seed)
        self.kept = Forgetful()

    @rule(which=which, keys=keys)
    def recover(self, which, keys):
        file = self.files[which]
        for _ in range(4):
            file.write({key: vector_of(key) for key in keys})
            found = file.read(keys)
            self.check(found, keys)
        assert self.max_bytes < MIB or found.keys() == set(keys)

    def teardown(self):
        for file in self.files if hasattr(self, "files") else ():
            file.writing.submit(int).result(30)
            file.close()
        shutil.rmtree(self.folder)


TestFiles = Files.TestCase
TestFiles.settings = settings(stateful_step_count=50 if LONG else 4, deadline=None)


# --- Embedding objects. ---

WORDS = [f"text {n}" for n in range(12)]
texts = st.lists(st.sampled_from(WORDS), min_size=1, max_size=12)
roles = st.sampled_from(["document", "query"])
options = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["text-embedding-v4", "text-embedding-v4", "text-embedding-v3"]),
        "dimension": st.sampled_from([None, 64, 128]),
        "output": st.sampled_from(["dense", "sparse", "dense&sparse"]),
    }
)
KINDS = {"dense": {"dense"}, "sparse": {"sparse"}, "dense&sparse": {"dense", "sparse"}}


@pytest.fixture(scope="module", autouse=True)
def service():
    with FingerprintService() as service:
        Embedders.service = service
        yield service


class Embedders(RuleBasedStateMachine):
    """Embedding objects of several options on one folder."""

    service: FingerprintService

    def __init__(self):
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.kept = set()
        self.fresh = 0

    @initialize(
        several=st.lists(options, min_size=2, max_size=3),
        instruct=st.sampled_from([None, "Find the wind", "Find the sea"]),
        max_bytes=st.sampled_from([MIB, 100 * MIB]),
    )
    def open(self, several, instruct, max_bytes):
        common = {
            "api_key": self.service.api_key,
            "base_url": self.service.native_url,
            "cache": VectorCache(self.folder, max_bytes=max_bytes),
        }
        if max_bytes == MIB:
            self.kept = Forgetful()
        self.embedders = [
            QwenEmbedder(**common, **asked, instruct=instruct if "v4" in asked["model"] else None)
            for asked in several
        ]
        self.dense = QwenEmbeddings(**common)
        self.sparse = self.dense.sparse()

    def named(self, of, role, text):
        instruct = of.instruct if role == "query" else None
        return text, role, instruct, of.dimension, of.model

    def check(self, of, role, texts, dense, sparse):
        for place, text in enumerate(texts):
            _, _, instruct, dimension, model = self.named(of, role, text)
            if dense is not None:
                expected = expected_dense(
                    text, role, instruct=instruct, dimension=dimension, model=model
                )
                assert np.array_equal(dense[place], expected), (of, role, text)
            if sparse is not None:
                expected = expected_sparse(text, role, instruct=instruct, model=model)
                assert sparse[place] == expected, (of, role, text)

    def embed(self, embedder, role, texts):
        method = {"document": embedder.embed_documents, "query": embedder.embed_queries}[role]
        result = method(texts)
        sparse = None if result.sparse is None else result.sparse.rows()
        self.check(embedder, role, texts, result.dense, sparse)

    @contextlib.contextmanager
    def paying(self, of, role, texts, kinds, times=1):
        """Check what is paid for meanwhile, and note what is kept since."""
        names = {self.named(of, role, text) for text in texts}
        kept = {name for name in names if {(name, kind) for kind in kinds} <= self.kept}
        before = self.service.paid.copy()
        yield
        paid = self.service.paid - before
        assert paid.keys() <= names - kept
        assert isinstance(self.kept, Forgetful) or all(count <= times for count in paid.values())
        self.kept |= {(name, kind) for name in names for kind in kinds}

    @rule(which=which, role=roles, texts=texts)
    def embed_texts(self, which, role, texts):
        embedder = self.embedders[which % len(self.embedders)]
        with self.paying(embedder, role, texts, KINDS[embedder.output]):
            self.embed(embedder, role, texts)

    @rule(role=roles, texts=texts, first=st.booleans())
    def embed_by_a_pair(self, role, texts, first):
        def dense():
            if role == "document":
                return self.dense.embed_documents(texts)
            return [self.dense.embed_query(text) for text in texts]

        def sparse():
            if role == "document":
                rows = self.sparse.embed_documents(texts)
            else:
                rows = [self.sparse.embed_query(text) for text in texts]
            return [dict(zip(row.indices, row.values, strict=True)) for row in rows]

        with self.paying(self.dense, role, texts, KINDS["dense&sparse"]):
            if first:
                self.check(self.dense, role, texts, dense(), sparse())
            else:
                self.check(self.dense, role, texts, None, sparse())
                self.check(self.dense, role, texts, dense(), None)

    @rule(which=which, texts=st.lists(texts, min_size=2, max_size=4))
    def embed_from_threads(self, which, texts):
        embedder = self.embedders[which % len(self.embedders)]
        every = [text for some in texts for text in some]
        with (
            self.paying(embedder, "document", every, KINDS[embedder.output], len(texts)),
            ThreadPoolExecutor(4) as threads,
        ):
            list(threads.map(lambda some: self.embed(embedder, "document", some), texts))

    @rule(which=which, turns=st.integers(0, 15), known=texts)
    def cancel_a_call(self, which, turns, known):
        self.fresh += 12
        fresh = [f"fresh {n}" for n in range(self.fresh - 12, self.fresh)]
        embedder = self.embedders[which % len(self.embedders)]
        known = [
            text
            for text in known
            if {(self.named(embedder, "document", text), kind) for kind in KINDS[embedder.output]}
            <= self.kept
        ]

        async def embed():
            call = asyncio.ensure_future(embedder.aembed_documents(known + fresh))
            for _ in range(turns):
                await asyncio.sleep(0.0002)
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call

        asyncio.run(embed())
        self.embed(embedder, "document", fresh)
        self.service.paid.clear()

    @rule(which=which)
    def copy_and_close(self, which):
        which %= len(self.embedders)
        copied = self.embedders[which].model_copy()
        self.embedders[which].close()
        self.embedders[which] = copied

    @rule(**damages)
    def damage(self, how, end, seed):
        damage(self.folder, how, end, seed)
        self.kept = Forgetful()

    def teardown(self):
        for each in getattr(self, "embedders", []):
            each.close()
        if hasattr(self, "dense"):
            self.dense.close()
        shutil.rmtree(self.folder)


TestEmbedders = Embedders.TestCase
TestEmbedders.settings = settings(stateful_step_count=30 if LONG else 3, deadline=None)


# --- Processes. ---

PROGRAM = """
import json, multiprocessing, os, pathlib, random, signal, sys, threading, warnings
from qwen_embed import QwenEmbedder
warnings.simplefilter("ignore", DeprecationWarning)  # threads and fork, 3.12
url, folder, seed = sys.argv[1:]
chance = random.Random(int(seed))
embedder = QwenEmbedder(api_key="sk-fingerprint", base_url=url, cache=folder, dimension=64)
def embed(role="document", many=60):
    texts = [f"text {chance.randrange(2000)}" for _ in range(chance.randint(1, many))]
    method = {"document": embedder.embed_documents, "query": embedder.embed_queries}[role]
    line = json.dumps([role, texts, method(texts).dense.tolist()])
    with pathlib.Path(f"{folder}-{os.getpid()}-{threading.get_ident()}").open("a") as file:
        file.write(line + chr(10))
"""

KILLED = """
while True:
    embed(chance.choice(["document", "query"]))
"""

FULL = """
import resource
limit = chance.randrange(400_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
for _ in range(10):
    texts = [f"text {chance.randrange(2000)}" for _ in range(60)]
    vectors = embedder.embed_documents(texts).dense.tolist()
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    with pathlib.Path(f"{folder}-of-one").open("a") as file:
        file.write(json.dumps(["document", texts, vectors]) + chr(10))
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
"""

FORKED = """
stop = threading.Event()
def use():
    while not stop.is_set():
        embed(many=300)
def work(n):
    signal.alarm(60)
    chance.seed(n)
    for _ in range(3):
        embed()
embed()
threads = [threading.Thread(target=use) for _ in range(chance.randrange(3))]
[thread.start() for thread in threads]
children = []
for n in range(6):
    child = os.fork()
    if child == 0:
        work(n)
        os._exit(0)
    children.append(child)
    embed()
statuses = [os.waitpid(child, 0)[1] for child in children]
stop.set()
assert statuses == [0] * 6, statuses
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(2))
"""


def start(program, service, folder, chance):
    seed = chance.randrange(2**32)
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + program, service.native_url, str(folder), str(seed)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process):
    """Wait for the end of a program, and return what it complained of."""
    try:
        _, complaints = process.communicate(timeout=100)
    finally:
        process.kill()
    assert process.returncode == 0, complaints
    return complaints


def embedded(folder):
    """Return the roles and texts that programs have embedded, all of whose vectors are right."""
    found = set()
    for path in folder.parent.glob(f"{folder.name}-*"):
        for line in path.read_text().splitlines():
            with contextlib.suppress(json.JSONDecodeError):  # cut short by a kill
                role, texts, vectors = json.loads(line)
                for text, vector in zip(texts, vectors, strict=True):
                    assert vector == expected_dense(text, role, dimension=64).tolist()
                    found.add((role, text))
    assert found
    return found


def assert_kept(embedded, service, folder):
    """Assert that texts are answered with the right vectors, and nothing is sent."""
    options = {"api_key": service.api_key, "base_url": service.native_url, "dimension": 64}
    service.paid.clear()
    with QwenEmbedder(cache=folder, **options) as embedder:
        for role, method in (
            ("document", embedder.embed_documents),
            ("query", embedder.embed_queries),
        ):
            texts = sorted(text for of, text in embedded if of == role)
            vectors = method(texts).dense if texts else []
            for text, vector in zip(texts, vectors, strict=True):
                assert np.array_equal(vector, expected_dense(text, role, dimension=64))
    assert not service.paid


@pytest.fixture(params=range(ROUNDS))
def chance(request):
    """Chance for a round: the same in each short run, and fresh in each long one."""
    seed = random.randrange(2**32) if LONG else request.param  # noqa: S311 -- no secret
    print("seed", seed)
    return random.Random(seed)  # noqa: S311 -- no secret


def test_processes_that_are_killed_lose_no_call_that_had_returned(service, tmp_path, chance):
    folder = tmp_path / "vectors"
    processes = [start(KILLED, service, folder, chance) for _ in range(2)]
    while sum("\n" in path.read_text() for path in tmp_path.glob("vectors-*")) < 2:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.3))
    for process in processes:
        process.kill()
        process.communicate()

    assert_kept(embedded(folder), service, folder)


@pytest.mark.skipif(sys.platform == "win32", reason="this system has no such limit")
def test_a_full_disk_costs_requests_and_later_all_is_kept(service, tmp_path, chance):
    folder = tmp_path / "vectors"

    complaints = ended(start(FULL, service, folder, chance))

    assert "Traceback" not in complaints
    texts = sorted(text for _, text in embedded(folder))
    with QwenEmbedder(
        api_key=service.api_key, base_url=service.native_url, dimension=64, cache=folder
    ) as embedder:
        embedder.embed_documents(texts)
    assert_kept(embedded(folder), service, folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_forks_while_threads_read_and_write_lose_nothing(service, tmp_path, chance):
    folder = tmp_path / "vectors"

    assert ended(start(FORKED, service, folder, chance)) == ""

    assert_kept(embedded(folder), service, folder)
