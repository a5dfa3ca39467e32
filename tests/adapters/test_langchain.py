"""LangChain only: its stores, its cache and its rate limiters."""

from __future__ import annotations

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.storage import LocalFileStore
from langchain_core.documents import Document
from langchain_core.rate_limiters import BaseRateLimiter, InMemoryRateLimiter
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_qdrant import QdrantVectorStore

import langchain_qwen_embed
from langchain_qwen_embed import QwenEmbeddings
from tests.support.interfaces import API_KEY

PASSAGES = ["The Queen of Hearts made tarts.", "The wind rises over the sea.", "Cats like milk."]


@pytest.fixture
def embeddings(service):
    with QwenEmbeddings(api_key=API_KEY, base_url=service.native_url) as embeddings:
        yield embeddings


def test_vectors_are_lists_of_exactly_float(embeddings):
    rows = [*embeddings.embed_documents(["a", "b", "a"]), embeddings.embed_query("c")]

    assert {type(row) for row in rows} == {list}
    assert {type(value) for row in rows for value in row} == {float}


def test_a_store_finds_the_passage_that_answers(embeddings):
    store = InMemoryVectorStore.from_texts(PASSAGES, embeddings)

    [found] = store.similarity_search("Who made the tarts?", k=1)

    assert found.page_content == PASSAGES[0]


def test_qdrant_on_disk_sends_documents_and_queries_in_their_roles(embeddings, service, tmp_path):
    store = QdrantVectorStore.from_documents(
        [Document(page_content=text) for text in PASSAGES],
        embedding=embeddings,
        path=str(tmp_path),
        collection_name="passages",
    )
    service.clear()

    [found] = store.similarity_search("Who made the tarts?", k=1)
    store.client.close()

    assert found.page_content == PASSAGES[0]
    assert [request.body["parameters"]["text_type"] for request in service.requests] == ["query"]


def test_cache_namespace_works_with_langchains_cache(embeddings, service, tmp_path):
    cached = CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        LocalFileStore(tmp_path),
        namespace=embeddings.cache_namespace,
        key_encoder="sha256",
    )
    first = cached.embed_documents(PASSAGES)
    service.clear()

    assert cached.embed_documents(PASSAGES) == first
    assert service.requests == []


def test_importing_the_package_loads_nothing_until_a_name_is_used():
    assert dir(langchain_qwen_embed) == ["QwenEmbeddings", "QwenSparseEmbeddings"]
    with pytest.raises(AttributeError, match="Qwen3"):
        _ = langchain_qwen_embed.Qwen3


class Counting(BaseRateLimiter):
    def __init__(self):
        self.acquired = 0

    def acquire(self, *, blocking=True):
        raise AssertionError("a blocking limiter would stop the requests of all objects")

    async def aacquire(self, *, blocking=True):
        assert blocking
        self.acquired += 1
        return True


def test_a_rate_limiter_is_acquired_once_per_request(service, instant_retries):
    limiter = Counting()
    embeddings = QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, rate_limiter=limiter)
    service.fail_next(1, status=500)

    embeddings.embed_documents([f"text {n}" for n in range(35)])
    embeddings.sparse().embed_query("who?")

    assert limiter.acquired == len(service.requests) == 4 + 1 + 1


def test_a_rate_limiter_of_langchain_paces_requests(service):
    limiter = InMemoryRateLimiter(requests_per_second=20, check_every_n_seconds=0.01)
    embeddings = QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, rate_limiter=limiter)

    embeddings.embed_documents([f"text {n}" for n in range(50)])

    started = [request.started_at for request in service.requests]
    assert started[-1] - started[0] >= 0.15
