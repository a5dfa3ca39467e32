"""LangGraph's memory stores, unmodified: what they send in which role, and how often."""

from __future__ import annotations

import pytest

from tests.support.example_output import texts_sent
from tests.support.interfaces import API_KEY

pytest.importorskip("langgraph")

from langgraph.store.base import PutOp
from langgraph.store.memory import InMemoryStore

from langchain_qwen_embed import QwenEmbeddings

USER = ("ada",)
MEMORIES = ["I drink green tea.", "My cat is called Dinah.", "我对花生过敏。"]


@pytest.fixture
def embeddings(service):
    with QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, dimension=64) as embeddings:
        yield embeddings


def index(embed):
    return {"embed": embed, "dims": 64, "fields": ["text"]}


def put(store, *texts):
    store.batch([PutOp(USER, text, {"text": text}) for text in texts])


def sent(service):
    """Return the texts of each role, and how many requests they took; forget them."""
    requests = service.requests
    service.clear()
    return texts_sent(requests, "document"), texts_sent(requests, "query"), len(requests)


def test_in_memory_memories_are_documents_and_what_is_sought_is_a_query(service, embeddings):
    store = InMemoryStore(index=index(embeddings))

    put(store, *MEMORIES)
    [found] = store.search(USER, query="What is the name of my cat?", limit=1)

    assert found.value["text"] == MEMORIES[1]
    assert sent(service) == (MEMORIES, ["What is the name of my cat?"], 2)


async def test_in_memory_async_sends_the_same(service, embeddings):
    store = InMemoryStore(index=index(embeddings))

    await store.aput(USER, "1", {"text": MEMORIES[0]})
    [found] = await store.asearch(USER, query="What tea?", limit=1)

    assert found.value["text"] == MEMORIES[0]
    assert sent(service) == ([MEMORIES[0]], ["What tea?"], 2)


@pytest.mark.upstream
def test_a_function_in_place_of_the_object_sends_queries_as_documents(service, embeddings):
    store = InMemoryStore(index=index(embeddings.embed_documents))

    put(store, MEMORIES[0])
    store.search(USER, query="What tea?")

    assert sent(service) == ([MEMORIES[0], "What tea?"], [], 2)


def test_without_fields_the_json_of_the_value_is_embedded(service, embeddings):
    store = InMemoryStore(index={"embed": embeddings, "dims": 64})

    store.put(USER, "1", {"text": MEMORIES[0], "when": "today"})

    assert sent(service)[0] == ['{"text": "I drink green tea.", "when": "today"}']


def test_what_is_saved_again_is_embedded_again_so_look_first(service, embeddings):
    store = InMemoryStore(index=index(embeddings))

    put(store, MEMORIES[0])
    put(store, MEMORIES[0])
    assert sent(service)[0] == [MEMORIES[0]] * 2

    if store.get(USER, MEMORIES[0]) is None:
        put(store, MEMORIES[0])
    assert sent(service)[0] == []


@pytest.mark.upstream
def test_each_search_sends_its_query_even_where_there_is_nothing_to_find(service, embeddings):
    store = InMemoryStore(index=index(embeddings))

    assert store.search(("nobody",), query="What tea?") == []
    assert store.search(("nobody",), query="What tea?") == []

    assert sent(service) == ([], ["What tea?"] * 2, 2)


@pytest.fixture
def connection(url):
    """A connection to a schema that is dropped afterwards."""
    psycopg = pytest.importorskip("psycopg")
    pytest.importorskip("langgraph.store.postgres")
    with psycopg.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        connection.execute("CREATE SCHEMA qwen_embed_memories")
        try:
            connection.execute("SET search_path = qwen_embed_memories, public")
            yield connection
        finally:
            connection.execute("DROP SCHEMA qwen_embed_memories CASCADE")


def postgres_store(connection, embed):
    from langgraph.store.postgres import PostgresStore  # noqa: PLC0415 -- not in all environments

    return PostgresStore(connection, index=index(embed))


@pytest.mark.upstream
def test_in_postgres_what_is_sought_goes_out_as_a_document(service, embeddings, connection):
    """A bug of the store, reported for its SQLite version as langchain-ai/langgraph#9007."""
    store = postgres_store(connection, embeddings)
    store.setup()

    put(store, *MEMORIES)
    store.search(USER, query="What tea?")

    assert sent(service) == ([*MEMORIES, "What tea?"], [], 2)


def test_a_second_postgres_store_to_search_with_sends_queries(service, embeddings, connection):
    store = postgres_store(connection, embeddings)
    store.setup()
    search = postgres_store(
        connection, lambda queries: [embeddings.embed_query(query) for query in queries]
    )

    put(store, *MEMORIES)
    [found] = search.search(USER, query="What is the name of my cat?", limit=1)

    assert found.value["text"] == MEMORIES[1]
    assert sent(service) == (MEMORIES, ["What is the name of my cat?"], 2)
