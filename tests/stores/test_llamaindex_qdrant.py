"""LlamaIndex's Qdrant store, unmodified, with a pair: what it sends, and what it stores."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tests.support.example_output import EXAMPLES, output_of
from tests.support.interfaces import API_KEY

pytest.importorskip("llama_index.vector_stores.qdrant")

from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import MetadataMode, TextNode
from llama_index.vector_stores.qdrant import QdrantVectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator

TEXTS = [f"part {n} of the catalogue, code AB-{n:04d}" for n in range(200)]
EXAMPLE = "hybrid_llamaindex_qdrant"
PRODUCTS = EXAMPLES / "data" / "products.jsonl"
CATALOGUE = [json.loads(line) for line in PRODUCTS.read_text(encoding="utf-8").splitlines()]
CODES = ("QX-7731B", "QX-7713A", "FH-2054L", "LP-9403E", "ZC-6208N", "MF-3517X", "TF-4170Q")


@pytest.fixture
def client():
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def dense(service):
    with QwenEmbedding(api_key=API_KEY, base_url=service.native_url, dimension=64) as dense:
        yield dense


def make(dense, name="c", **options):
    """Return the store with the sparse object of a pair."""
    sparse = dense.sparse()
    return QdrantVectorStore(
        name,
        enable_hybrid=True,
        batch_size=100,
        sparse_doc_fn=sparse.encode_documents,
        sparse_query_fn=sparse.encode_queries,
        **options,
    )


def make_nodes(texts, *, metadata):
    return [
        TextNode(text=text, metadata={"shelf": str(n), "work": "parts"} if metadata else {})
        for n, text in enumerate(texts)
    ]


def index_nodes(store, dense, nodes):
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=dense)


def ingest_nodes(store, dense, nodes):
    IngestionPipeline(transformations=[dense], vector_store=store).run(nodes=nodes)


def retriever(store, dense, **options):
    index = VectorStoreIndex.from_vector_store(store, embed_model=dense)
    return index.as_retriever(similarity_top_k=5, **options)


def kept_by(dense):
    """Return how many dense and sparse vectors the pair of an object keeps."""
    pairing = dense._session.pairing
    return (len(pairing.kept["dense"]), len(pairing.kept["sparse"])) if pairing else None


def stored(client, name="c"):
    """Return each point's id, dense vector, and sparse one as a dict."""
    points, _ = client.scroll(name, limit=10_000, with_vectors=True)
    rows = [(point.id, point.vector) for point in points]
    return [
        (
            identity,
            vector["text-dense"],
            dict(
                zip(
                    vector["text-sparse-new"].indices, vector["text-sparse-new"].values, strict=True
                )
            ),
        )
        for identity, vector in rows
    ]


def assert_right(points, nodes, service):
    """Assert that each node is stored with its own vectors, as one plain call returns them."""
    contents = {node.node_id: node.get_content(MetadataMode.EMBED) for node in nodes}
    assert sorted(identity for identity, *_ in points) == sorted(contents)
    with QwenEmbedder(
        api_key=API_KEY, base_url=service.native_url, dimension=64, output="dense&sparse"
    ) as core:
        result = core.embed_documents(list(contents.values()))
    rows = dict(zip(contents, zip(result.dense, result.sparse.rows(), strict=True), strict=True))
    for identity, vector, sparse in points:
        np.testing.assert_allclose(vector, rows[identity][0], rtol=0, atol=1e-6)
        assert sparse == pytest.approx(rows[identity][1])


@pytest.mark.parametrize("metadata", [False, True], ids=["bare", "metadata"])
@pytest.mark.parametrize("add", [index_nodes, ingest_nodes])
def test_200_nodes_are_20_requests(service, client, dense, add, metadata):
    nodes = make_nodes(TEXTS, metadata=metadata)

    add(make(dense, client=client), dense, nodes)

    assert len(service.requests) == 20
    assert {request.body["parameters"]["output_type"] for request in service.requests} == {
        "dense&sparse"
    }
    assert kept_by(dense) == (0, 0)
    assert_right(stored(client), nodes, service)


@pytest.mark.parametrize("metadata", [False, True], ids=["bare", "metadata"])
def test_a_query_is_one_request(service, client, dense, metadata):
    store = make(dense, client=client)
    index_nodes(store, dense, make_nodes(TEXTS, metadata=metadata))
    service.clear()

    found = retriever(store, dense, vector_store_query_mode="hybrid", alpha=0.3).retrieve("AB-0137")

    assert found[0].text == TEXTS[137]
    assert [r.body["parameters"]["text_type"] for r in service.requests] == ["query"]
    assert kept_by(dense) == (0, 0)


@pytest.mark.parametrize("metadata", [False, True], ids=["bare", "metadata"])
@pytest.mark.parametrize("through", ["index", "pipeline"])
async def test_async_adding_and_searching_cost_the_same(service, dense, through, metadata):
    client = AsyncQdrantClient(":memory:")
    store = make(dense, aclient=client)
    nodes = make_nodes(TEXTS, metadata=metadata)

    if through == "index":
        context = StorageContext.from_defaults(vector_store=store)
        index = VectorStoreIndex([], storage_context=context, embed_model=dense)
        await index.ainsert_nodes(nodes)
    else:
        await IngestionPipeline(transformations=[dense], vector_store=store).arun(nodes=nodes)
    assert len(service.requests) == 20
    service.clear()
    ask = retriever(store, dense, vector_store_query_mode="hybrid", alpha=0.3)
    found = await ask.aretrieve("AB-0042")

    assert found[0].text == TEXTS[42]
    assert len(service.requests) == 1
    assert kept_by(dense) == (0, 0)
    await client.close()


def test_an_unpaired_dense_object_requests_and_keeps_no_sparse_vectors(service, client, dense):
    store = QdrantVectorStore("c", client=client, batch_size=100)

    index_nodes(store, dense, make_nodes(TEXTS, metadata=True))
    retriever(store, dense).retrieve("AB-0137")

    assert len(service.requests) == 21
    assert all("output_type" not in r.body["parameters"] for r in service.requests)
    assert kept_by(dense) is None


@pytest.mark.parametrize("metadata", [False, True], ids=["bare", "metadata"])
def test_threads_that_share_a_pair_store_the_right_vectors(service, client, dense, metadata):
    service.latency = 0.002
    shares = {
        f"c{n}": make_nodes(
            [*TEXTS[:40], *(f"thread {n}, text {i}" for i in range(40))], metadata=metadata
        )
        for n in range(16)
    }
    stores = {name: make(dense, name, client=client) for name in shares}

    with ThreadPoolExecutor(16) as threads:
        list(threads.map(lambda name: index_nodes(stores[name], dense, shares[name]), shares))

    for name, nodes in shares.items():
        assert_right(stored(client, name), nodes, service)
    assert kept_by(dense) == (0, 0)


def test_codes_that_dense_search_misses_are_first_in_hybrid_search(client, dense):
    """With the engine `lexical` at the smallest dimension: see the test of LangChain's store."""
    nodes = [
        TextNode(text=part["text"], metadata=part, excluded_embed_metadata_keys=list(part))
        for part in CATALOGUE
    ]
    store = make(dense, client=client)
    index_nodes(store, dense, nodes)
    alone = retriever(store, dense)
    both = retriever(store, dense, vector_store_query_mode="hybrid", alpha=0.3)
    orders = {part["code"]: f"I would like to order {part['code']}" for part in CATALOGUE}

    found_alone = {
        code: [hit.metadata["code"] for hit in alone.retrieve(order)]
        for code, order in orders.items()
    }
    first_by_both = {
        code: both.retrieve(order)[0].metadata["code"] for code, order in orders.items()
    }

    missed = [code for code, found in found_alone.items() if code not in found]
    assert len(missed) >= 50
    assert set(CODES) <= set(missed)
    assert first_by_both == {code: code for code in orders}


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """Give the folder of a run of the example, and what it printed."""
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
