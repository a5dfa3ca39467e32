"""Sparse objects of both adapters: unpaired, paired, and wrapped for stores."""

from __future__ import annotations

import asyncio
import copy
import pickle
import sys

import pytest
from pydantic import ValidationError

from langchain_qwen_embed import QwenEmbeddings, QwenSparseEmbeddings
from langchain_qwen_embed.vectors import SparseVector
from llamaindex_qwen_embed import QwenEmbedding, QwenSparseEmbedding
from qwen_embed import InputError, QwenEmbedder
from tests.support.interfaces import API_KEY

TEXTS = [f"passage number {n} speaks of item-{n}" for n in range(25)]


def options(service, **more):
    return {"api_key": API_KEY, "base_url": service.native_url, **more}


LANGCHAIN = {
    "documents": lambda sparse, texts: [
        dict(zip(row.indices, row.values, strict=True)) for row in sparse.embed_documents(texts)
    ],
    "documents-async": lambda sparse, texts: [
        dict(zip(row.indices, row.values, strict=True))
        for row in asyncio.run(sparse.aembed_documents(texts))
    ],
}
LLAMAINDEX = {
    "batch": lambda sparse, texts: sparse.get_text_embedding_batch(texts),
    "batch-async": lambda sparse, texts: asyncio.run(sparse.aget_text_embedding_batch(texts)),
    "single": lambda sparse, texts: [sparse.get_text_embedding(text) for text in texts],
    "single-async": lambda sparse, texts: [
        asyncio.run(sparse.aget_text_embedding(text)) for text in texts
    ],
    "encode": lambda sparse, texts: [
        dict(zip(*row, strict=True)) for row in zip(*sparse.encode_documents(texts), strict=True)
    ],
    "encode-async": lambda sparse, texts: [
        dict(zip(*row, strict=True))
        for row in zip(*asyncio.run(sparse.aencode_documents(texts)), strict=True)
    ],
}
EVERY_METHOD = [
    *((QwenSparseEmbeddings, QwenEmbeddings, embed) for embed in LANGCHAIN.values()),
    *((QwenSparseEmbedding, QwenEmbedding, embed) for embed in LLAMAINDEX.values()),
]
methods = pytest.mark.parametrize(
    ("kind", "dense_kind", "embed"), EVERY_METHOD, ids=[*LANGCHAIN, *LLAMAINDEX]
)


@methods
def test_every_method_returns_the_vectors_of_the_core(service, kind, dense_kind, embed):
    expected = QwenEmbedder(**options(service, output="sparse")).embed_documents(TEXTS).sparse

    rows = embed(kind(**options(service)), TEXTS)

    assert rows == expected.rows()
    assert {type(index) for row in rows for index in row} == {int}
    assert {type(value) for row in rows for value in row.values()} == {float}
    assert all(list(row) == sorted(row) for row in rows)


@methods
def test_every_method_uses_the_sparse_vectors_that_the_pair_kept(service, kind, dense_kind, embed):
    dense = dense_kind(**options(service, dimension=64))
    sparse = dense.sparse()
    if isinstance(dense, QwenEmbeddings):
        dense.embed_documents(TEXTS)
    else:
        dense.get_text_embedding_batch(TEXTS)
    assert len(service.requests) == 3

    rows = embed(sparse, TEXTS)

    assert len(service.requests) == 3
    assert rows == embed(kind(**options(service)), TEXTS)


def test_a_query_of_a_pair_is_one_request(service):
    dense = QwenEmbeddings(**options(service))
    sparse = dense.sparse()
    dense.embed_query("item-7")
    sparse.embed_query("item-7")
    embedding = QwenEmbedding(**options(service))
    sparse_embedding = embedding.sparse()
    sparse_embedding.encode_queries(["item-7"])
    embedding.get_query_embedding("item-7")

    assert [request.body["parameters"]["text_type"] for request in service.requests] == [
        "query",
        "query",
    ]


@pytest.mark.parametrize("kind", [QwenSparseEmbeddings, QwenSparseEmbedding])
def test_an_unpaired_sparse_object_requests_only_sparse_vectors(service, kind):
    sparse = kind(**options(service, instruct="Find it"))

    _ = sparse.embed_query("a") if kind is QwenSparseEmbeddings else sparse.encode_queries(["a"])

    assert service.requests[0].body["parameters"] == {
        "text_type": "query",
        "instruct": "Find it",
        "output_type": "sparse",
    }


@pytest.mark.parametrize("kind", [QwenEmbeddings, QwenEmbedding])
def test_an_unpaired_dense_object_requests_and_keeps_no_sparse_vectors(service, kind):
    dense = kind(**options(service))

    _ = dense.embed_query("a") if kind is QwenEmbeddings else dense.get_query_embedding("a")

    assert "output_type" not in service.requests[0].body["parameters"]
    assert dense._session.pairing is None


@pytest.mark.parametrize("kind", [QwenEmbeddings, QwenEmbedding])
def test_objects_can_be_paired_after_the_first_call(service, kind):
    dense = kind(**options(service))
    _ = dense.embed_query("a") if kind is QwenEmbeddings else dense.get_query_embedding("a")
    dense.sparse()

    _ = dense.embed_query("b") if kind is QwenEmbeddings else dense.get_query_embedding("b")

    assert service.requests[1].body["parameters"]["output_type"] == "dense&sparse"


@pytest.mark.parametrize(
    "make",
    [
        lambda options: QwenSparseEmbeddings(**options),
        lambda options: QwenSparseEmbedding(**options),
        lambda options: QwenEmbedder(output="sparse", **options),
        lambda options: QwenEmbedder(output="dense&sparse", **options),
        lambda options: QwenEmbeddings(**options).sparse(),
        lambda options: QwenEmbedding(**options).sparse(),
        lambda options: QwenEmbeddings(**options).embed_both(["a"]),
        lambda options: QwenEmbedder(**options).explain_match("a", "b"),
    ],
)
def test_a_model_without_sparse_vectors_raises_an_error(service, make):
    with pytest.raises((ValidationError, InputError), match="makes no sparse vectors"):
        make(options(service, model="text-embedding-v2"))
    assert service.requests == []


@pytest.mark.parametrize("kind", [QwenSparseEmbeddings, QwenSparseEmbedding])
@pytest.mark.parametrize("option", [{"dimension": 64}, {"normalize": True}])
def test_options_of_dense_vectors_are_rejected(service, kind, option):
    with pytest.raises(ValidationError, match="for dense vectors"):
        kind(**options(service, **option))


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
@pytest.mark.parametrize("kind", [QwenEmbeddings, QwenEmbedding])
def test_copies_of_a_pair_are_unpaired_and_work(service, kind, copied):
    dense = kind(**options(service, dimension=64))
    sparse = dense.sparse()
    other_dense, other_sparse = copied(dense), copied(sparse)

    if kind is QwenEmbeddings:
        other_dense.embed_documents(["a"])
        other_sparse.embed_documents(["a"])
    else:
        other_dense.get_text_embedding("a")
        other_sparse.get_text_embedding("a")

    kinds = [request.body["parameters"].get("output_type") for request in service.requests]
    assert kinds == [None, "sparse"]


def test_dense_and_sparse_vectors_come_in_one_call(service):
    embeddings = QwenEmbeddings(**options(service, dimension=64))

    dense, sparse = embeddings.embed_both(TEXTS)
    query_dense, query_sparse = embeddings.embed_query_both("item-7")

    assert len(service.requests) == 4
    assert dense == embeddings.embed_documents(TEXTS)
    assert (len(sparse), len(query_dense)) == (25, 64)
    scores = [
        sum(value * row.get(index, 0.0) for index, value in query_sparse.items()) for row in sparse
    ]
    assert scores.index(max(scores)) == 7
    assert asyncio.run(embeddings.aembed_both(TEXTS)) == (dense, sparse)
    assert asyncio.run(embeddings.aembed_query_both("item-7")) == (query_dense, query_sparse)


def test_a_match_is_explained_with_one_request_per_text(service):
    dense = QwenEmbeddings(**options(service))
    for explain in (dense.sparse(), QwenSparseEmbedding(**options(service)), dense):
        service.clear()
        [first, *_] = shared = explain.explain_match("where is item-7?", TEXTS[7])
        assert first.token == "item-7"
        assert shared == asyncio.run(explain.aexplain_match("where is item-7?", TEXTS[7]))
        assert len(service.requests) == 4


def test_explaining_a_match_keeps_the_vectors_for_the_store(service):
    dense = QwenEmbeddings(**options(service))
    sparse = dense.sparse()
    dense.embed_documents(TEXTS)
    sparse.explain_match("item-7", TEXTS[7])
    service.clear()

    sparse.embed_documents(TEXTS)

    assert service.requests == []


def test_duplicate_indices_are_merged(service):
    service.repeat_indices = True

    [vector] = QwenSparseEmbeddings(**options(service)).embed_documents(["one two three four"])

    assert vector.indices == sorted(set(vector.indices))
    service.repeat_indices = False
    assert [vector] == QwenSparseEmbeddings(**options(service)).embed_documents(
        ["one two three four"]
    )


def test_langchain_vectors_are_of_one_class_with_and_without_qdrant(service):
    pytest.importorskip("langchain_qdrant")  # whose own class must make no difference

    vector = QwenSparseEmbeddings(**options(service)).embed_query("a")

    assert type(vector) is SparseVector
    assert len(vector.indices) == len(vector.values) == 1


def test_pinecone_gets_dicts(service):
    sparse = QwenSparseEmbeddings(**options(service))
    pinecone = sparse.for_pinecone()

    assert pinecone.embed_documents(TEXTS[:1]) == [
        {"indices": vector.indices, "values": vector.values}
        for vector in sparse.embed_documents(TEXTS[:1])
    ]
    assert pinecone.embed_query("a").keys() == {"indices", "values"}
    assert asyncio.run(pinecone.aembed_query("a")) == pinecone.embed_query("a")
    assert asyncio.run(pinecone.aembed_documents(["a"])) == pinecone.embed_documents(["a"])


@pytest.mark.parametrize(
    ("make", "store"),
    [
        (lambda options: QwenSparseEmbeddings(**options).for_milvus(), "langchain_milvus"),
        (lambda options: QwenSparseEmbeddings(**options).for_chroma(), "chromadb"),
        (
            lambda options: QwenSparseEmbedding(**options).for_milvus(),
            "llama_index.vector_stores.milvus",
        ),
    ],
)
def test_a_store_that_is_not_installed_is_named(service, make, store, monkeypatch):
    monkeypatch.setitem(sys.modules, store, None)

    with pytest.raises(ImportError, match=store):
        make(options(service))


@pytest.mark.parametrize("kind", [QwenSparseEmbeddings, QwenSparseEmbedding])
def test_the_key_of_a_sparse_object_is_in_no_representation(service, kind):
    sparse = kind(**options(service))

    shown = [repr(sparse), str(sparse), str(vars(sparse)), str(sparse.model_dump())]
    assert not [text for text in shown if API_KEY in text]
    assert sparse.model_dump()["model"] == "text-embedding-v4"
