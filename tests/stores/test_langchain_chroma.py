"""LangChain's Chroma store, unmodified: what it sends in which role, and how often."""

from __future__ import annotations

import pytest

from tests.support.example_output import texts_sent
from tests.support.interfaces import API_KEY

pytest.importorskip("langchain_chroma", reason="runs in .venv-langchain-stores")

from langchain_chroma import Chroma

from langchain_qwen_embed import QwenEmbeddings

TEXTS = [f"part {n} of the catalogue, code AB-{n:04d}" for n in range(200)]
SEARCHES = [
    "similarity_search",
    "similarity_search_with_score",
    "similarity_search_with_relevance_scores",
    "max_marginal_relevance_search",
]


@pytest.fixture
def embeddings(service):
    with QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, dimension=256) as embeddings:
        yield embeddings


@pytest.fixture
def store(embeddings, tmp_path):
    metadatas = [{"n": n} if n % 2 else {} for n in range(200)]  # it stores the two kinds apart
    store = Chroma.from_texts(
        TEXTS,
        embeddings,
        metadatas,
        persist_directory=str(tmp_path),
        collection_metadata={"hnsw:space": "cosine"},
    )
    yield store
    store.delete_collection()


def test_200_texts_are_20_requests(service, store):
    assert sorted(texts_sent(service.requests, "document")) == sorted(TEXTS)
    assert len(service.requests) == 20


@pytest.mark.parametrize("search", SEARCHES)
def test_a_query_is_one_request(service, store, search):
    service.clear()

    found = getattr(store, search)("AB-0137", k=1)[0]

    document = found[0] if isinstance(found, tuple) else found
    assert document.page_content == TEXTS[137]
    assert texts_sent(service.requests, "query") == ["AB-0137"]
    assert len(service.requests) == 1


async def test_an_async_query_is_one_request(service, store):
    service.clear()

    [found] = await store.asimilarity_search("AB-0137", k=1)

    assert found.page_content == TEXTS[137]
    assert [r.body["parameters"]["text_type"] for r in service.requests] == ["query"]


def test_a_text_added_again_is_embedded_again(service, store):
    ids = store.add_texts(["The wind rises."], ids=["wind"])
    service.clear()

    store.add_texts(["The wind rises."], ids=ids)

    assert texts_sent(service.requests, "document") == ["The wind rises."]
