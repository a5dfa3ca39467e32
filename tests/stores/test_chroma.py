"""chromadb's protocol for sparse vectors. Its local client indexes none, so nothing is stored."""

from __future__ import annotations

import json

import pytest

from langchain_qwen_embed import QwenSparseEmbeddings
from tests.support.interfaces import API_KEY

chromadb = pytest.importorskip("chromadb", reason="runs in .venv-langchain-stores")

TEXTS = ["The Queen of Hearts made tarts.", "item-7 is on the shelf"]


@pytest.fixture
def chroma(service, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", API_KEY)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", service.native_url)
    return QwenSparseEmbeddings(instruct="Find it").for_chroma()


def test_it_is_a_sparse_embedding_function(chroma):
    assert isinstance(chroma, chromadb.SparseEmbeddingFunction)


def test_documents_and_queries_are_sent_in_their_roles(chroma, service):
    documents, [query] = chroma(TEXTS), chroma.embed_query(["where is item-7"])

    assert {type(vector) for vector in (*documents, query)} == {chromadb.SparseVector}
    assert [request.body["parameters"]["text_type"] for request in service.requests] == [
        "document",
        "query",
    ]
    shared = [set(query.indices) & set(document.indices) for document in documents]
    assert len(shared[1]) > len(shared[0])


def test_the_index_of_a_collection_accepts_it(chroma):
    schema = chromadb.Schema()

    schema.create_index(
        config=chromadb.SparseVectorIndexConfig(
            source_key=chromadb.K.DOCUMENT, embedding_function=chroma
        ),
        key="sparse",
    )

    saved = str(schema.serialize_to_json())
    assert "qwen_sparse" in saved
    assert API_KEY not in saved


def test_an_object_restored_from_a_collection_makes_the_same_vectors(chroma):
    restored = chroma.build_from_config(chroma.get_config())

    assert restored.get_config() == chroma.get_config()
    assert restored(TEXTS) == chroma(TEXTS)


def test_a_collection_saves_every_option_that_changes_a_sparse_vector(chroma):
    sparse = QwenSparseEmbeddings(instruct="Find it", empty_text="zero")

    saved = sparse.for_chroma().get_config()

    assert saved == sparse.vector_options
    assert (
        saved.items()
        >= {
            "model": "text-embedding-v4",
            "instruct": "Find it",
            "long_text": "error",
            "empty_text": "zero",
        }.items()
    )
    assert json.loads(json.dumps(saved)) == saved
    [nothing] = chroma.build_from_config(saved)([" "])
    assert nothing.indices == []
