"""Components of LangChain that embed: what they send in which role, and how often."""

from __future__ import annotations

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.retrievers import EnsembleRetriever
from langchain_core.documents import Document
from langchain_core.indexing import InMemoryRecordManager, index
from langchain_core.runnables import RunnableParallel, RunnablePassthrough
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import InMemoryVectorStore

from langchain_qwen_embed import QwenEmbeddings
from tests.support.example_output import texts_sent
from tests.support.interfaces import API_KEY

TEXTS = [f"passage number {n}" for n in range(25)]


@pytest.fixture
def embeddings(service):
    with QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, dimension=64) as embeddings:
        yield embeddings


@pytest.fixture
def retriever(service, embeddings):
    retriever = InMemoryVectorStore.from_texts(TEXTS, embeddings).as_retriever()
    service.clear()
    return retriever


def cache(embeddings, queries, documents=None, **options):
    return CacheBackedEmbeddings.from_bytes_store(
        embeddings,
        InMemoryByteStore() if documents is None else documents,
        query_embedding_cache=queries,
        namespace=embeddings.cache_namespace,
        key_encoder="sha256",
        **options,
    )


def queries(service):
    return texts_sent(service.requests, "query")


def test_with_two_stores_a_query_keeps_its_own_vector(service, embeddings):
    cached = cache(embeddings, InMemoryByteStore())

    [document] = cached.embed_documents(["tarts"])
    first, second = cached.embed_query("tarts"), cached.embed_query("tarts")

    assert first == second == embeddings.embed_query("tarts") != document
    assert texts_sent(service.requests, "document") == ["tarts"]


@pytest.mark.upstream
def test_with_one_store_a_query_gets_the_vector_of_the_same_document(service, embeddings):
    cached = cache(embeddings, queries=True)

    [document] = cached.embed_documents(["tarts"])

    assert cached.embed_query("tarts") == document
    assert queries(service) == []


async def test_the_cache_sends_the_same_from_async_code(service, embeddings):
    cached = cache(embeddings, InMemoryByteStore())

    for _ in range(2):
        await cached.aembed_documents(TEXTS)
        await cached.aembed_query("tarts")

    assert sorted(texts_sent(service.requests, "document")) == sorted(TEXTS)
    assert queries(service) == ["tarts"]


def test_vectors_made_with_other_options_are_not_taken_from_the_cache(service, embeddings):
    store = InMemoryByteStore()
    for options in ({}, {"dimension": 128}, {"instruct": "Find it"}, {}):
        cached = cache(embeddings.model_copy(update=options), False, store)
        assert len(cached.embed_documents(["tarts"])[0]) == options.get("dimension", 64)

    assert texts_sent(service.requests, "document") == ["tarts"] * 3


@pytest.mark.parametrize(("batch_size", "times"), [(10, 3), (2000, 1)])
@pytest.mark.upstream
def test_a_text_in_several_batches_of_the_cache_is_sent_with_each(
    service, embeddings, batch_size, times
):
    cached = cache(embeddings, False, batch_size=batch_size)

    cached.embed_documents([*TEXTS[:9], "again", *TEXTS[9:18], "again", *TEXTS[18:], "again"])

    assert texts_sent(service.requests, "document").count("again") == times


@pytest.mark.upstream
def test_a_retriever_used_twice_in_a_chain_sends_the_query_twice(service, retriever):
    twice = RunnableParallel(answer=retriever | len, sources=retriever)
    once = RunnableParallel(sources=retriever).assign(answer=lambda found: len(found["sources"]))

    assert twice.invoke("number 7") == once.invoke("number 7")

    assert queries(service) == ["number 7"] * 2 + ["number 7"]


@pytest.mark.upstream
def test_retrievers_of_one_object_send_a_query_each_unless_queries_are_cached(service, embeddings):
    cached = cache(embeddings, InMemoryByteStore())
    for embedding, times in ((embeddings, 2), (cached, 1)):
        stores = [InMemoryVectorStore.from_texts(TEXTS[n:], embedding) for n in (0, 5)]
        both = EnsembleRetriever(retrievers=[s.as_retriever() for s in stores], weights=[0.5, 0.5])
        service.clear()

        both.invoke("number 7")

        assert queries(service) == ["number 7"] * times


def test_a_chain_may_send_many_questions_concurrently(service, retriever):
    chain = RunnableParallel(sources=retriever, question=RunnablePassthrough())

    chain.batch([f"number {n}" for n in range(7)])

    assert sorted(queries(service)) == [f"number {n}" for n in range(7)]


def test_an_index_with_records_embeds_what_changed(service, embeddings):
    store, records = InMemoryVectorStore(embeddings), InMemoryRecordManager("passages")
    records.create_schema()

    def run(*texts):
        service.clear()
        documents = [Document(text, metadata={"source": str(n)}) for n, text in enumerate(texts)]
        options = {"cleanup": "full", "source_id_key": "source", "key_encoder": "sha256"}
        index(documents, records, store, batch_size=2000, **options)
        return texts_sent(service.requests, "document")

    assert sorted(run(*TEXTS)) == sorted(TEXTS)
    assert run(*TEXTS) == []
    assert run(*TEXTS[:-1], "changed") == ["changed"]
