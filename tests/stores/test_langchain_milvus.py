"""Hybrid search with langchain-milvus as it comes, in Milvus Lite.

`make test` runs this in an environment of its own; the environment of the others has no such store.
"""

import contextlib
import re

import pytest

from tests.support.example_output import output_of

milvus = pytest.importorskip("langchain_milvus", reason="runs in .venv-langchain-stores")
from pymilvus import Function, FunctionType  # noqa: E402

from langchain_qwen_embed import QwenEmbeddings  # noqa: E402

pytestmark = pytest.mark.usefixtures("milvus_polls_fast")

CODES = [f"QX-{1000 + 7 * number}" for number in range(200)]
TEXTS = [f"The spare part {code} lies on shelf {code[-2:]}. 备件在架上。" for code in CODES]
PLACES = [{"place": number} for number in range(200)]
SOME = range(0, 200, 13)
FUSION = Function(
    name="fusion",
    input_field_names=[],
    function_type=FunctionType.RERANK,
    params={"reranker": "rrf", "k": 60},
)
SEARCH = {"k": 5, "fetch_k": 50, "reranker": FUSION}
BY_WORDS = {
    "reranker": Function(
        name="by_words",
        input_field_names=[],
        function_type=FunctionType.RERANK,
        params={"reranker": "weighted", "weights": [0.0, 1.0]},
    ),
    "k": 1,
    "fetch_k": 1,
}


@pytest.fixture
def dense(service):
    with QwenEmbeddings(api_key=service.api_key, base_url=service.native_url) as dense:
        yield dense


@pytest.fixture
def make_store(tmp_path):
    """Make stores of two vector fields, and close them before their folder goes."""
    with contextlib.ExitStack() as stack:

        def make(embedding_function, **options):
            both = isinstance(embedding_function, list)
            kinds = [("COSINE", "AUTOINDEX"), ("IP", "SPARSE_INVERTED_INDEX")]
            index = [{"metric_type": by, "index_type": of, "params": {}} for by, of in kinds]
            search = [{"metric_type": by, "params": {}} for by, _ in kinds]
            store = milvus.Milvus(
                embedding_function=embedding_function,
                vector_field=["dense", "sparse"] if both else "dense",
                index_params=index if both else index[0],
                search_params=search if both else search[0],
                connection_args={"uri": str(tmp_path / "x.db")},
                auto_id=True,
                **options,
            )
            stack.callback(store.client.close)
            return store

        yield make


def outputs(service):
    return [request.body["parameters"].get("output_type") for request in service.requests]


def roles(service):
    return [request.body["parameters"].get("text_type") for request in service.requests]


def test_200_texts_cost_20_requests_and_a_query_one(service, dense, make_store):
    store = make_store([dense, dense.sparse().for_milvus()])
    assert not service.requests
    store.add_texts(TEXTS, PLACES)
    assert len(service.requests) == 20
    for place in SOME:
        before = len(service.requests)
        found = store.similarity_search(f"Where is {CODES[place]}?", **SEARCH)
        assert len(service.requests) == before + 1
        assert roles(service)[-1] == "query"
        assert len(found) == 5
        assert found[0].metadata["place"] == place
        assert found[0].page_content == TEXTS[place]
    assert set(outputs(service)) == {"dense&sparse"}


async def test_async_costs_the_same(service, dense, make_store):
    store = make_store([dense, dense.sparse().for_milvus()])
    await store.aadd_texts(TEXTS, PLACES)
    assert len(service.requests) == 20
    for place in SOME:
        before = len(service.requests)
        found = await store.asimilarity_search(f"Where is {CODES[place]}?", **SEARCH)
        assert len(service.requests) == before + 1
        assert found[0].metadata["place"] == place
    assert set(outputs(service)) == {"dense&sparse"}
    await store.aclient.close()


def test_every_sparse_vector_stored_is_its_own_texts(service, dense, make_store):
    store = make_store([dense, dense.sparse().for_milvus()])
    store.add_texts(TEXTS, PLACES)
    with dense.model_copy().sparse() as alone:
        expected = dict(zip(TEXTS, alone.embed_documents(TEXTS), strict=True))
    rows = store.client.query(store.collection_name, "pk >= 0", output_fields=["text", "sparse"])
    assert len(rows) == 200
    for row in rows:
        vector = expected[row["text"]]
        assert row["sparse"].keys() == set(vector.indices)
        assert list(row["sparse"].values()) == pytest.approx(vector.values)


def test_a_search_by_words_alone_finds_each_code(service, dense, make_store):
    store = make_store([dense, dense.sparse().for_milvus()])
    store.add_texts(TEXTS, PLACES)
    found = [store.similarity_search(CODES[place], **BY_WORDS)[0] for place in SOME]
    assert [document.metadata["place"] for document in found] == list(SOME)


def test_duplicate_texts_all_get_their_vectors(service, dense, make_store):
    store = make_store([dense, dense.sparse().for_milvus()])
    store.add_texts(TEXTS[:5] * 4, PLACES[:20])
    assert len(service.requests) == 1
    found = store.similarity_search(CODES[3], **SEARCH)
    assert {document.page_content for document in found[:4]} == {TEXTS[3]}


def test_a_retriever_costs_one_request(service, dense, make_store):
    store = make_store([dense, dense.sparse().for_milvus()])
    store.add_texts(TEXTS, PLACES)
    service.clear()
    found = store.as_retriever(search_kwargs=SEARCH).invoke(f"Where is {CODES[42]}?")
    assert found[0].metadata["place"] == 42
    assert len(service.requests) == 1


def test_without_a_sparse_object_no_request_mentions_sparse_vectors(service, dense, make_store):
    store = make_store(dense)
    store.add_texts(TEXTS, PLACES)
    assert store.similarity_search(TEXTS[42], k=1)[0].metadata["place"] == 42
    assert len(service.requests) == 21
    assert set(outputs(service)) == {None}


def test_the_example_searches_both_languages_with_the_fewest_requests(tmp_path):
    output = output_of("hybrid_langchain_milvus", tmp_path)
    assert "local emulator and are NOT Qwen's" in output
    assert "417 passages stored, dense and sparse, in 42 requests" in output
    assert output.count("(requests for this query: 1)") == 4
    firsts = re.findall(r"^ \*1\. \d\.\d{3}  (\S+) ", output, re.MULTILINE)
    assert firsts == ["alice-0178", "alice-0102", "nahan-0095", "nahan-0039"]
    assert "'tarts'" in output
    assert "'捕鸟'" in output
