"""Vectors that are cached across objects and processes, through every interface."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, product

import numpy as np
import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import TextNode

from langchain_qwen_embed import QwenEmbeddings, QwenSparseEmbeddings
from llamaindex_qwen_embed import QwenEmbedding, QwenSparseEmbedding
from qwen_embed import (
    AuthenticationError,
    EmbeddingResult,
    InvalidResponseError,
    PartialFailureError,
    QwenEmbedder,
    VectorCache,
)
from qwen_embed.caching.store import NAME, VectorFile
from tests.support.interfaces import API_KEY, INTERFACES, one_interface_per_package

TEXTS = [f"text {n}" for n in range(23)]
WORDS = ("the", "wind", "will", "rise", "over", "cold", "hill", "and", "sea")
LONG = " ".join(chain.from_iterable(product(WORDS, repeat=4)))
"""26,244 tokens."""


each_class = pytest.mark.parametrize(
    "interface",
    [interface for interface in INTERFACES if "async" not in interface.name],
    ids=lambda interface: interface.name,
)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "vectors"


def sent(service):
    return [text for request in service.requests for text in request.body["input"]["texts"]]


def rows_of(result):
    """Return the vectors that an error carries, those of failed texts as NaN."""
    rows = result.dense if isinstance(result, EmbeddingResult) else result
    return [[np.nan] if row is None else list(row) for row in rows]


def core(service, folder, **options):
    return QwenEmbedder(api_key=API_KEY, base_url=service.native_url, cache=folder, **options)


def test_no_text_is_sent_twice(interface, service, folder):
    first = interface.documents(interface(service, cache=folder), TEXTS)
    row = interface.query(interface(service, cache=folder), "text 3")
    service.clear()
    again = interface(service, cache=VectorCache(folder))

    assert interface.documents(again, TEXTS) == first
    assert interface.query(again, "text 3") == row != first[3]
    assert service.requests == []
    usage = again.usage
    assert (usage.texts, usage.requests, usage.tokens, usage.cached) == (0, 0, 0, 24)
    assert str(usage).endswith("; 24 texts from the cache")


def test_only_texts_missing_from_the_cache_are_sent(interface, service, folder):
    interface.documents(interface(service, cache=folder), ["a", "b", "c"])
    service.clear()
    embeddings = interface(service, cache=folder)

    rows = interface.documents(embeddings, ["b", "new", "b", "a", "new", "c"])

    assert sent(service) == ["new"]
    assert rows == interface.documents(interface(service), ["b", "new", "b", "a", "new", "c"])
    assert (embeddings.usage.texts, embeddings.usage.cached) == (2, 4)


@each_class
@pytest.mark.parametrize(
    "change",
    [{"dimension": 64}, {"model": "text-embedding-v3"}, {"normalize": True}],
    ids=lambda change: next(iter(change)),
)
def test_another_option_is_another_vector(interface, service, folder, change):
    interface.documents(interface(service, cache=folder), ["a"])

    rows = interface.documents(interface(service, cache=folder, **change), ["a"])

    assert len(service.requests) == 2
    assert rows == interface.documents(interface(service, **change), ["a"])


@each_class
def test_an_instruction_changes_queries_only(interface, service, folder):
    one = interface(service, cache=folder, instruct="Find the wind")
    other = interface(service, cache=folder, instruct="Find the sea")
    interface.documents(one, ["a"])
    interface.documents(other, ["a"])
    assert len(service.requests) == 1

    assert interface.query(one, "a") != interface.query(other, "a")
    assert len(service.requests) == 3


@each_class
@pytest.mark.parametrize("normalize", [False, True])
def test_cached_vectors_are_normalized_like_others(interface, service, folder, normalize):
    first = interface.documents(interface(service, cache=folder, normalize=normalize), ["a", "b"])

    assert (
        interface.documents(interface(service, cache=folder, normalize=normalize), ["a", "b"])
        == first
    )


@each_class
def test_blank_texts_get_vectors_of_zeros(interface, service, folder):
    for _ in range(2):
        embeddings = interface(service, cache=folder, empty_text="zero", dimension=64)
        rows = interface.documents(embeddings, ["", "a", " "])
        assert rows[0] == rows[2] == [0.0] * 64
    assert sent(service) == ["a"]
    assert embeddings.usage.cached == 1


@one_interface_per_package
def test_vectors_are_cached_when_another_text_fails(interface, service, folder):
    texts = [*TEXTS, "word " * 20_000]
    with pytest.raises(PartialFailureError):
        interface.documents(interface(service, cache=folder), texts)
    service.clear()

    with pytest.raises(PartialFailureError) as caught:
        interface.documents(interface(service, cache=folder), texts)

    assert sent(service) == [texts[-1]]
    assert [failure.index for failure in caught.value.failures] == [23]
    rows = rows_of(caught.value.result)
    assert rows[:23] == interface.documents(interface(service), TEXTS)


@one_interface_per_package
def test_vectors_that_arrived_are_cached_when_the_call_fails(
    interface, service, folder, monkeypatch
):
    options = {"cache": folder, "max_concurrency": 1}
    embed = service._engine.embed

    def embed_and_reject_the_next(texts, **role):
        service.fail_next(1, status=401, code="InvalidApiKey")
        return embed(texts, **role)

    with monkeypatch.context() as patch:
        patch.setattr(service._engine, "embed", embed_and_reject_the_next)
        with pytest.raises(AuthenticationError) as caught:
            interface.documents(interface(service, **options), TEXTS)
    arrived = [not np.isnan(row).all() for row in rows_of(caught.value.result)]
    service.clear()

    rows = interface.documents(interface(service, **options), TEXTS)

    assert 0 < sum(arrived) < 23
    assert sent(service) == [text for text, kept in zip(TEXTS, arrived, strict=True) if not kept]
    assert rows == interface.documents(interface(service), TEXTS)


async def test_vectors_that_arrived_are_cached_when_the_call_is_cancelled(service, folder):
    service.latency = 0.05
    embedder = core(service, folder, max_concurrency=1)
    waiting = asyncio.ensure_future(embedder.aembed_documents([f"t {n}" for n in range(500)]))
    while len(service.requests) < 4:
        await asyncio.sleep(0.01)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.1)

    result = await core(service, folder).aembed_documents([f"t {n}" for n in range(30)])

    assert result.usage.cached == 30


@each_class
@pytest.mark.parametrize("long_text", ["truncate", "average"])
def test_a_long_text_is_one_vector(interface, service, folder, long_text):
    texts = ["short", LONG, "short"]
    first = interface.documents(interface(service, cache=folder, long_text=long_text), texts)
    service.clear()

    again = interface.documents(interface(service, cache=folder, long_text=long_text), texts)

    assert service.requests == []
    assert np.allclose(again, first, atol=1e-7)


@one_interface_per_package
def test_objects_and_threads_share_a_folder(interface, service, folder):
    expected = interface.documents(interface(service), TEXTS)
    objects = [interface(service, cache=folder) for _ in range(4)]

    with ThreadPoolExecutor(16) as threads:
        rows = list(threads.map(lambda n: interface.documents(objects[n % 4], TEXTS), range(16)))

    assert rows == [expected] * 16
    assert [sorted(path.name for path in folder.iterdir() if path.name == NAME)] == [[NAME]]


@each_class
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))]
)
def test_a_copy_has_the_same_cache(interface, service, folder, copied):
    embeddings = interface(service, cache=str(folder))
    interface.documents(embeddings, ["a"])

    again = copied(embeddings)

    assert again.cache == embeddings.cache == VectorCache(folder)
    interface.documents(again, ["a"])
    assert len(service.requests) == 1


@each_class
def test_a_dump_does_not_show_the_cache(interface, service, folder):
    made = interface(service, cache=folder)

    assert "cache" not in made.model_dump()
    assert made.cache_namespace == interface(service).cache_namespace


@each_class
def test_the_key_and_the_texts_are_nowhere_in_the_cache(interface, service, folder):
    with interface(service, cache=folder) as embeddings:
        interface.documents(embeddings, ["a very secret text"])
        kept = b"".join(path.read_bytes() for path in folder.iterdir())

    assert b"CREATE TABLE vectors" in kept
    assert API_KEY.encode() not in kept
    assert b"secret text" not in kept


@one_interface_per_package
def test_without_a_usable_cache_texts_are_sent(interface, service, tmp_path, caplog):
    (tmp_path / "file").touch()
    embeddings = interface(service, cache=tmp_path / "file" / "folder")

    rows = [interface.documents(embeddings, TEXTS) for _ in range(2)]

    assert rows[0] == rows[1] == interface.documents(interface(service), TEXTS)
    assert embeddings.usage.requests == 6
    assert len([record for record in caplog.records if "cannot be used" in record.message]) == 1


@each_class
def test_with_a_damaged_cache_texts_are_sent(interface, service, folder, caplog):
    with interface(service, cache=folder) as embeddings:
        first = interface.documents(embeddings, TEXTS)
    file = folder / NAME
    file.write_bytes(file.read_bytes()[: 40 * 1024])

    embeddings = interface(service, cache=folder)

    assert interface.documents(embeddings, TEXTS) == interface.documents(embeddings, TEXTS) == first
    assert embeddings.usage.cached == 23
    assert "It is recreated" in caplog.text


def test_a_slow_disk_does_not_delay_other_calls(service, folder, monkeypatch):
    may_go_on = threading.Event()
    read = VectorFile.read

    def slow(self, keys):
        assert may_go_on.wait(30)
        return read(self, keys)

    monkeypatch.setattr(VectorFile, "read", slow)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(core(service, folder).embed_query, "a")

        QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("b")

        assert not waiting.done()
        assert sent(service) == ["b"]
        may_go_on.set()
        assert waiting.result().dense.shape == (1, 1024)


def test_vectors_of_another_length_than_the_cached_ones_raise_an_error(service, folder):
    model = {"default_dimension": 64, "dimensions": (64, 32)}
    service.set_model("text-embedding-v9", **model)
    with core(service, folder, model="text-embedding-v9") as embedder:
        embedder.embed_documents(["a"])
    service.set_model("text-embedding-v9", **{**model, "default_dimension": 32})

    with (
        core(service, folder, model="text-embedding-v9") as embedder,
        pytest.raises(InvalidResponseError, match="set `dimension`"),
    ):
        embedder.embed_documents(["a", "b"])


class TestStreams:
    def test_a_stream_is_answered_from_the_cache(self, service, folder):
        texts = [f"text {n}" for n in range(95)]
        with core(service, folder, max_concurrency=2, dimension=64) as embedder:
            first = list(embedder.embed_stream(texts[:50]))
            service.clear()

            rows = list(embedder.embed_stream(texts))

            assert np.array_equal(rows[:50], first)
            assert sorted(sent(service)) == sorted(texts[50:])
            assert embedder.usage.cached == 50


class TestSparse:
    @pytest.mark.parametrize("later", ["dense", "sparse", "dense&sparse"])
    def test_both_vectors_of_a_request_are_cached(self, service, folder, later):
        first = core(service, folder, output="dense&sparse").embed_documents(TEXTS)
        service.clear()

        result = core(service, folder, output=later).embed_documents(TEXTS)

        assert service.requests == []
        if "dense" in later:
            assert np.array_equal(result.dense, first.dense)
        if "sparse" in later:
            assert result.sparse.rows() == first.sparse.rows()
            assert result.sparse.tokens == first.sparse.tokens

    @pytest.mark.parametrize("earlier", ["dense", "sparse"])
    def test_both_vectors_are_requested_if_either_is_missing(self, service, folder, earlier):
        core(service, folder, output=earlier).embed_documents(["a"])
        service.clear()

        result = core(service, folder, output="dense&sparse").embed_documents(["a"])

        [request] = service.requests
        assert request.body["parameters"]["output_type"] == "dense&sparse"
        assert result.dense.shape == (1, 1024)
        assert len(result.sparse) == 1

    @pytest.mark.parametrize(
        ("kind", "ask"),
        [
            (QwenSparseEmbeddings, lambda sparse: sparse.embed_documents(TEXTS)),
            (QwenSparseEmbedding, lambda sparse: sparse.get_text_embedding_batch(TEXTS)),
        ],
    )
    def test_sparse_objects_use_the_cache(self, service, folder, kind, ask):
        options = {"api_key": API_KEY, "base_url": service.native_url, "cache": folder}
        first = ask(kind(**options))
        service.clear()

        assert ask(kind(**options)) == first
        assert service.requests == []

    @pytest.mark.parametrize("kind", [QwenEmbeddings, QwenEmbedding])
    def test_a_pair_is_answered_from_the_cache(self, service, folder, kind):
        def both():
            dense = kind(api_key=API_KEY, base_url=service.native_url, cache=folder)
            sparse = dense.sparse()
            rows = dense._rows(TEXTS, "document"), sparse._sparse(TEXTS, "document").rows()
            return rows, dense.usage.requests

        first, requests = both()
        assert requests == 3

        assert both() == (first, 0)

    def test_a_pair_requests_both_vectors_if_either_is_missing(self, service, folder):
        options = {"api_key": API_KEY, "base_url": service.native_url, "cache": folder}
        QwenEmbeddings(**options).embed_documents(["a"])
        dense = QwenEmbeddings(**options)
        sparse = dense.sparse()
        service.clear()

        dense.embed_documents(["a"])
        sparse.embed_documents(["a"])

        assert len(service.requests) == 1

    def test_a_match_is_explained_from_the_cache(self, service, folder):
        options = {"api_key": API_KEY, "base_url": service.native_url, "cache": folder}
        first = QwenEmbeddings(**options).explain_match("the wind", "wind rises")
        service.clear()

        assert QwenEmbeddings(**options).explain_match("the wind", "wind rises") == first != []
        assert service.requests == []


class TestLlamaIndex:
    def nodes(self):
        return [TextNode(text=f"passage {n}", id_=str(n)) for n in range(45)]

    def pipeline(self, service, folder):
        embedding = QwenEmbedding(
            api_key=API_KEY, base_url=service.native_url, cache=folder, dimension=64
        )
        return IngestionPipeline(transformations=[embedding], disable_cache=True)

    def test_a_pipeline_that_runs_again_sends_nothing(self, service, folder):
        first = self.pipeline(service, folder).run(nodes=self.nodes())
        service.clear()

        again = self.pipeline(service, folder).run(nodes=self.nodes())

        assert service.requests == []
        assert [node.embedding for node in again] == [node.embedding for node in first]

    def test_vectors_of_worker_processes_are_cached(self, service, folder):
        self.pipeline(service, folder).run(nodes=self.nodes(), num_workers=2)
        service.clear()

        self.pipeline(service, folder).run(nodes=self.nodes())

        assert service.requests == []

    def test_an_index_that_is_rebuilt_sends_nothing(self, service, folder):
        for _ in range(2):
            service.clear()
            embedding = QwenEmbedding(api_key=API_KEY, base_url=service.native_url, cache=folder)
            index = VectorStoreIndex(self.nodes(), embed_model=embedding)
            [found] = index.as_retriever(similarity_top_k=1).retrieve("passage 7")
            assert found.text == "passage 7"

        assert service.requests == []


PROGRAM = f"""
import os, sys
from qwen_embed import QwenEmbedder
def embedder():
    return QwenEmbedder(
        api_key={API_KEY!r}, base_url=sys.argv[1], cache=sys.argv[2], dimension=64
    )
TEXTS = [f"text {{n}}" for n in range(300)]
"""


def start(program, service, folder):
    return subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", PROGRAM + program, service.native_url, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process):
    out, complaints = process.communicate(timeout=60)
    # On a busy machine asyncio's debug mode reports slow callbacks.
    lines = [line for line in complaints.splitlines() if not line.startswith("Executing ")]
    assert (lines, process.returncode) == ([], 0)
    return out


class TestProcesses:
    def test_two_processes_at_once_share_a_folder(self, service, folder):
        program = "print(embedder().embed_documents(TEXTS).dense.tobytes().hex())"
        both = [start(program, service, folder) for _ in range(2)]

        one, other = [printed(process) for process in both]

        with core(service, folder, dimension=64) as embedder:
            result = embedder.embed_documents([f"text {n}" for n in range(300)])
        assert one == other == result.dense.tobytes().hex() + "\n"
        assert result.usage.cached == 300

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_forked_child_and_its_parent_share_a_folder(self, service, folder):
        program = """
import warnings; warnings.simplefilter('ignore', DeprecationWarning)  # threads and fork, 3.12
made = embedder()
made.embed_documents(TEXTS[:100])
child = os.fork()
if child == 0:
    print('child', made.embed_documents(TEXTS[:200]).usage.cached, flush=True)
    sys.exit(0)
os.waitpid(child, 0)
print('parent', made.embed_documents(TEXTS).usage.cached)
"""

        assert printed(start(program, service, folder)) == "child 100\nparent 200\n"

    @pytest.mark.parametrize(
        "late",
        [
            "threading.Thread(target=lambda: (threading.main_thread().join(), embed())).start()",
            "import atexit; atexit.register(embed)",
        ],
        ids=["in a thread", "at exit"],
    )
    def test_it_serves_after_the_end_of_the_main_thread(self, service, folder, late):
        program = """
import threading
made = embedder()
made.embed_query("the loop has to be started before")
def embed():
    print(made.embed_documents(TEXTS[:40]).usage.cached, flush=True)
    print(made.embed_documents(TEXTS[:50]).usage.cached, flush=True)
"""
        assert printed(start(program + late, service, folder)) == "0\n40\n"

        with core(service, folder, dimension=64) as embedder:
            result = embedder.embed_documents([f"text {n}" for n in range(50)])
        assert result.usage.cached == 50

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
    def test_a_forked_child_that_needs_only_the_cache_works(self, service, folder):
        program = """
import multiprocessing, warnings
warnings.simplefilter('ignore', DeprecationWarning)  # threads and fork, 3.12
made = embedder()
made.embed_documents(TEXTS)
def cached(n):
    return made.embed_documents(TEXTS[n:]).usage.cached
with multiprocessing.get_context('fork').Pool(3) as pool:
    print(pool.map(cached, [0, 100, 200, 299]))
"""
        assert printed(start(program, service, folder)) == "[300, 200, 100, 1]\n"
        assert sum(len(request.body["input"]["texts"]) for request in service.requests) == 300

    def test_a_program_that_ends_during_a_call_keeps_the_vectors_that_arrived(
        self, service, folder
    ):
        service.latency = 0.05
        program = """
import threading
made = embedder().model_copy(update={'max_concurrency': 1})
def call():
    try:
        made.embed_documents(TEXTS)
    except BaseException:
        pass
threading.Thread(target=call, daemon=True).start()
sys.stdin.readline()
"""
        process = start(program, service, folder)
        while len(service.requests) < 4:
            time.sleep(0.01)
        printed(process)
        paid = sum(request.status == 200 for request in service.requests) - 1
        service.clear()

        core(service, folder, dimension=64).embed_documents([f"text {n}" for n in range(300)])

        assert paid >= 2
        assert len(service.requests) <= 30 - paid
