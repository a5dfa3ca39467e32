"""Hybrid search with LlamaIndex's Milvus store as it comes, in Milvus Lite.

`make test` runs this in an environment of its own; the environment of the others has no such store.
"""

import contextlib
import re

import pytest

from tests.support.example_output import output_of

milvus = pytest.importorskip(
    "llama_index.vector_stores.milvus", reason="runs in .venv-llamaindex-stores"
)
from llama_index.core import StorageContext, VectorStoreIndex  # noqa: E402
from llama_index.core.ingestion import IngestionPipeline  # noqa: E402
from llama_index.core.schema import MetadataMode, TextNode  # noqa: E402

from llamaindex_qwen_embed import QwenEmbedding  # noqa: E402

pytestmark = pytest.mark.usefixtures("milvus_polls_fast")

CODES = [f"QX-{1000 + 7 * number}" for number in range(200)]
TEXTS = [f"The spare part {code} lies on shelf {code[-2:]}. 备件在架上。" for code in CODES]
SOME = range(0, 200, 13)

BARE = [TextNode(id_=code, text=text) for code, text in zip(CODES, TEXTS, strict=True)]
WITH_METADATA = [
    TextNode(id_=code, text=text, metadata={"file": f"{number}.txt", "language": "en"})
    for number, (code, text) in enumerate(zip(CODES, TEXTS, strict=True))
]
TOLD_APART_BY_METADATA = [
    TextNode(id_=code, text="It lies in the store.", metadata={"part": code}) for code in CODES[:20]
]
WITH_LINES_IN_TEXT = [
    TextNode(id_=code, text=f"part: {code}\n\nIt lies in the store.") for code in CODES
]
NODES = pytest.mark.parametrize(
    "nodes",
    [BARE, WITH_METADATA, WITH_LINES_IN_TEXT],
    ids=["bare", "with metadata", "with lines in text"],
)


@pytest.fixture
def dense(service):
    with QwenEmbedding(api_key=service.api_key, base_url=service.native_url) as dense:
        yield dense


@pytest.fixture
def make_store(tmp_path):
    """Make stores, and close them before their folder goes."""
    with contextlib.ExitStack() as stack:

        def make(sparse=None, **options):
            store = milvus.MilvusVectorStore(
                uri=str(tmp_path / "y.db"),
                dim=1024,
                similarity_metric="COSINE",
                enable_sparse=sparse is not None,
                sparse_embedding_function=sparse and sparse.for_milvus(),
                **{"hybrid_ranker": "RRFRanker", "use_async_client": False, **options},
            )
            stack.callback(store.client.close)
            return store

        yield make


def by_index(dense, store, nodes):
    context = StorageContext.from_defaults(vector_store=store)
    VectorStoreIndex(nodes, storage_context=context, embed_model=dense)


def by_pipeline(dense, store, nodes):
    IngestionPipeline(transformations=[dense], vector_store=store).run(nodes=nodes)


INGEST = pytest.mark.parametrize("ingest", [by_index, by_pipeline])


def retriever(dense, store, mode, **options):
    index = VectorStoreIndex.from_vector_store(store, embed_model=dense)
    return index.as_retriever(vector_store_query_mode=mode, **options)


def fresh(nodes):
    """Return copies, since embedding writes vectors into nodes."""
    return [node.model_copy(deep=True) for node in nodes]


def outputs(service):
    return [request.body["parameters"].get("output_type") for request in service.requests]


@INGEST
@NODES
def test_200_nodes_cost_20_requests_and_a_query_one(service, dense, make_store, ingest, nodes):
    store = make_store(dense.sparse())
    ingest(dense, store, fresh(nodes))
    assert len(service.requests) == 20
    search = retriever(dense, store, "hybrid", similarity_top_k=5)
    for number in SOME:
        before = len(service.requests)
        found = search.retrieve(f"Where is {CODES[number]}?")
        assert len(service.requests) == before + 1
        assert service.requests[-1].body["parameters"]["text_type"] == "query"
        assert len(found) == 5
        assert found[0].node.node_id == CODES[number]
    assert set(outputs(service)) == {"dense&sparse"}


@NODES
def test_every_sparse_vector_stored_is_its_own_nodes(dense, make_store, nodes):
    store = make_store(dense.sparse())
    by_index(dense, store, fresh(nodes))
    with dense.model_copy().sparse() as alone:
        texts = [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes]
        expected = dict(zip(CODES, alone.get_text_embedding_batch(texts), strict=True))
    rows = store.client.query(
        store.collection_name, 'id != ""', output_fields=["id", "sparse_embedding"]
    )
    assert len(rows) == 200
    for row in rows:
        assert row["sparse_embedding"] == pytest.approx(expected[row["id"]])


def test_nodes_of_one_text_never_get_each_others_vectors(service, dense, make_store):
    store = make_store(dense.sparse())
    by_index(dense, store, fresh(TOLD_APART_BY_METADATA))
    with dense.model_copy().sparse() as alone:
        of_the_text = alone.get_text_embedding("It lies in the store.")
    rows = store.client.query(
        store.collection_name, 'id != ""', output_fields=["id", "sparse_embedding"]
    )
    assert len(rows) == 20
    for row in rows:
        assert row["sparse_embedding"] == pytest.approx(of_the_text)


def test_a_search_by_words_alone_finds_each_code(dense, make_store):
    # The store's mode "sparse" needs a feature that Milvus Lite lacks.
    store = make_store(
        dense.sparse(),
        hybrid_ranker="WeightedRanker",
        hybrid_ranker_params={"weights": [0.0, 1.0]},
    )
    by_index(dense, store, fresh(WITH_METADATA))
    search = retriever(dense, store, "hybrid", similarity_top_k=1)
    assert [search.retrieve(CODES[number])[0].node.node_id for number in SOME] == [
        CODES[number] for number in SOME
    ]


async def test_async_costs_the_same(service, dense, make_store):
    store = make_store(dense.sparse(), use_async_client=True)
    pipeline = IngestionPipeline(transformations=[dense], vector_store=store)
    await pipeline.arun(nodes=fresh(WITH_METADATA))
    assert len(service.requests) == 20
    search = retriever(dense, store, "hybrid", similarity_top_k=5)
    for number in SOME:
        before = len(service.requests)
        found = await search.aretrieve(f"Where is {CODES[number]}?")
        assert len(service.requests) == before + 1
        assert found[0].node.node_id == CODES[number]
    await store.aclient.close()


@INGEST
def test_without_a_sparse_object_no_request_mentions_sparse_vectors(
    service, dense, make_store, ingest
):
    store = make_store()
    ingest(dense, store, fresh(BARE))
    found = retriever(dense, store, "default").retrieve(TEXTS[42])
    assert found[0].node.node_id == CODES[42]
    assert len(service.requests) == 21
    assert set(outputs(service)) == {None}


def test_the_example_searches_both_languages_with_the_fewest_requests(tmp_path):
    output = output_of("hybrid_llamaindex_milvus", tmp_path)
    assert "local emulator and are NOT Qwen's" in output
    assert "417 passages stored, dense and sparse, in 42 requests" in output
    assert output.count("(requests for this query: 1)") == 4
    firsts = re.findall(r"^ \*1\. \d\.\d{3}  (\S+) ", output, re.MULTILINE)
    assert firsts == ["alice-0178", "alice-0102", "nahan-0095", "nahan-0039"]
    assert "'tarts'" in output
    assert "'捕鸟'" in output
