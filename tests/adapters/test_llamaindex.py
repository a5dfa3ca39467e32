"""LlamaIndex only: its hooks, its serialization, its pipelines and its events."""

from __future__ import annotations

import asyncio
import pickle
from dataclasses import replace

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
    SparseEmbeddingEndEvent,
    SparseEmbeddingStartEvent,
)
from llama_index.core.rate_limiter import BaseRateLimiter
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.span_handlers import SimpleSpanHandler
from pydantic import ValidationError

from llamaindex_qwen_embed import EmbeddingUsageEvent, QwenEmbedding, QwenSparseEmbedding, events
from qwen_embed import AuthenticationError, InputError, PartialFailureError, PermissionDeniedError
from qwen_embed.emulator import Emulator
from qwen_embed.protocols.native import NATIVE
from tests.support.held_engine import HeldEngine
from tests.support.interfaces import API_KEY

TEXTS = [f"text {n}" for n in range(95)]


BATCHES = [
    lambda embedding, texts: embedding.get_text_embedding_batch(texts),
    lambda embedding, texts: asyncio.run(embedding.aget_text_embedding_batch(texts)),
]


def make(service, **options):
    return QwenEmbedding(**{"api_key": API_KEY, "base_url": service.native_url, **options})


@pytest.mark.parametrize(
    ("embed", "text_type"),
    [
        (lambda embedding: embedding.get_query_embedding("a"), "query"),
        (lambda embedding: asyncio.run(embedding.aget_query_embedding("a")), "query"),
        (lambda embedding: embedding.get_text_embedding("a"), "document"),
        (lambda embedding: asyncio.run(embedding.aget_text_embedding("a")), "document"),
        (lambda embedding: embedding.get_text_embedding_batch(["a"])[0], "document"),
        (lambda embedding: asyncio.run(embedding.aget_text_embedding_batch(["a"]))[0], "document"),
    ],
    ids=["query", "query-async", "text", "text-async", "batch", "batch-async"],
)
def test_every_hook_sends_one_request(service, embed, text_type):
    row = embed(make(service, dimension=64))

    assert [request.body for request in service.requests] == [
        {
            "model": "text-embedding-v4",
            "input": {"texts": ["a"]},
            "parameters": {"text_type": text_type, "dimension": 64},
        }
    ]
    assert [type(value) for value in row] == [float] * 64


@pytest.mark.parametrize(
    "options",
    [{}, {"num_workers": 4}, {"embed_batch_size": 3}, {"embed_batch_size": 2048}],
    ids=str,
)
def test_95_texts_are_10_requests_whatever_llamaindex_options_say(service, options):
    embedding = make(service, **options)

    assert len(embedding.get_text_embedding_batch(TEXTS)) == 95
    assert len(service.requests) == 10
    service.clear()
    assert len(asyncio.run(embedding.aget_text_embedding_batch(TEXTS))) == 95
    assert len(service.requests) == 10


async def test_concurrency_is_bounded():
    engine = HeldEngine()
    engine.let_go()
    with Emulator(api_key=API_KEY, engine=engine) as service:
        embedding = make(service, max_concurrency=5, requests_per_minute=600_000)
        await embedding.aget_query_embedding("so that the latency is known")
        engine.hold()

        texts = [f"text {n}" for n in range(400)]
        call = asyncio.ensure_future(embedding.aget_text_embedding_batch(texts))
        await asyncio.to_thread(engine.let_go_when_in_flight, service, 5)

        assert len(await call) == 400
        assert service.peak_in_flight == 5


@pytest.mark.parametrize(
    "batch",
    [
        lambda made: made.get_text_embedding_batch(TEXTS, show_progress=True),
        lambda made: asyncio.run(made.aget_text_embedding_batch(TEXTS, show_progress=True)),
    ],
)
@pytest.mark.parametrize("kind", [QwenEmbedding, QwenSparseEmbedding])
def test_llamaindex_show_progress_shows_a_bar_in_texts(service, capsys, kind, batch):
    made = kind(api_key=API_KEY, base_url=service.native_url)

    assert len(batch(made)) == 95

    assert "95/95" in capsys.readouterr().err


def test_texts_may_come_from_a_generator(service):
    assert len(make(service).get_text_embedding_batch(text for text in TEXTS)) == 95


@pytest.mark.parametrize("name", ["model", "model_name"])
def test_model_and_model_name_are_one_option(service, name):
    embedding = make(service, **{name: "text-embedding-v3"})

    assert embedding.model == embedding.model_name == "text-embedding-v3"
    assert embedding.to_payload()["model_name"] == "text-embedding-v3"


def test_two_different_models_raise_an_error(service):
    with pytest.raises(ValidationError, match="differ"):
        make(service, model="text-embedding-v3", model_name="text-embedding-v4")


def test_a_copy_may_change_the_model_under_either_name(service):
    changed = make(service).model_copy(update={"model_name": "text-embedding-v3"})

    assert changed.model == changed.model_name == "text-embedding-v3"


def test_a_dict_has_the_options_that_change_a_vector_and_recreates_the_object(service):
    embedding = make(service, dimension=512, instruct="Find it", normalize=True)

    saved = embedding.to_dict()

    assert saved == {
        "class_name": "QwenEmbedding",
        "model": "text-embedding-v4",
        "model_name": "text-embedding-v4",
        "dimension": 512,
        "instruct": "Find it",
        "protocol": "native",
        "query_template": None,
        "truncate_locally": False,
        "normalize": True,
        "long_text": "error",
        "empty_text": "error",
        "embeddings_cache": None,
    }
    again = QwenEmbedding.from_dict(saved, api_key=API_KEY, base_url=service.native_url)
    assert again.to_dict() == saved
    assert again.get_query_embedding("a") == embedding.get_query_embedding("a")


def test_a_pickle_carries_every_option_and_no_warning(service, caplog):
    embedding = make(service, dimension=64, batch_size=3, timeout=7.0)
    embedding.get_text_embedding("used")

    again = pickle.loads(pickle.dumps(embedding))

    assert caplog.text == ""
    assert (again.dimension, again.batch_size, again.timeout) == (64, 3, 7.0)
    assert again.get_text_embedding("a") == embedding.get_text_embedding("a")


def test_a_cache_that_mixes_queries_with_documents_is_rejected(service):
    with pytest.raises(
        ValidationError, match=r"keyed by the text alone.*Pass a folder as `cache=` instead"
    ):
        make(service, embeddings_cache=SimpleKVStore())


def nodes(count):
    return [TextNode(text=f"passage number {n}", id_=str(n)) for n in range(count)]


def test_an_index_finds_the_passage_that_answers(service):
    passages = ["The Queen of Hearts made tarts.", "The wind rises.", "Cats like milk."]
    index = VectorStoreIndex([TextNode(text=text) for text in passages], embed_model=make(service))

    [found] = index.as_retriever(similarity_top_k=1).retrieve("Who made the tarts?")

    assert found.text == passages[0]


def test_a_pipeline_embeds_every_node(service):
    pipeline = IngestionPipeline(transformations=[make(service, dimension=64)])

    embedded = pipeline.run(nodes=nodes(95))

    assert [len(node.embedding) for node in embedded] == [64] * 95
    assert len(service.requests) == 10


def test_a_pipelines_cache_distinguishes_dimensions(service):
    cache = IngestionCache()

    def run(**options):
        pipeline = IngestionPipeline(transformations=[make(service, **options)], cache=cache)
        return [len(node.embedding) for node in pipeline.run(nodes=nodes(5))]

    assert run(dimension=64) == [64] * 5
    assert run(dimension=128) == [128] * 5
    assert len(service.requests) == 2
    assert run(dimension=64, timeout=5.0, batch_size=7) == [64] * 5
    assert len(service.requests) == 2


def test_a_pipeline_runs_in_worker_processes(service):
    pipeline = IngestionPipeline(transformations=[make(service, dimension=64)])

    embedded = pipeline.run(nodes=nodes(40), num_workers=2)

    assert sorted(int(node.id_) for node in embedded) == list(range(40))
    assert [len(node.embedding) for node in embedded] == [64] * 40
    assert len(service.requests) == 4


def test_an_async_pipeline_runs_in_worker_processes(service):
    pipeline = IngestionPipeline(transformations=[make(service, dimension=64)])

    embedded = asyncio.run(pipeline.arun(nodes=nodes(40), num_workers=2))

    assert [len(node.embedding) for node in embedded] == [64] * 40


BATCHES = [
    lambda embedding, texts: embedding.get_text_embedding_batch(texts),
    lambda embedding, texts: asyncio.run(embedding.aget_text_embedding_batch(texts)),
]
both = pytest.mark.parametrize("batch", BATCHES, ids=["sync", "async"])


@both
@pytest.mark.parametrize("texts", ["a str for a list", ["fine"] * 40 + [""]])
def test_all_texts_are_checked_before_anything_is_sent(service, batch, texts):
    with pytest.raises(InputError):
        batch(make(service), texts)

    assert service.requests == []


@both
def test_a_rejected_text_is_named_by_its_index_in_the_whole_list(service, batch):
    texts = [*TEXTS[:33], "word " * 10_000, *TEXTS[34:60]]

    with pytest.raises(PartialFailureError) as caught:
        batch(make(service, dimension=64), texts)

    assert [failure.index for failure in caught.value.failures] == [33]
    lengths = [None if row is None else len(row) for row in caught.value.result]
    assert lengths == [64] * 33 + [None] + [64] * 26


@both
def test_vectors_that_arrived_are_in_the_error_of_the_call(service, batch):
    embedding = make(service, dimension=64, max_concurrency=1)
    embedding.get_text_embedding("warm")
    dispatcher = embedding._session._last.dispatcher
    limiter = dispatcher._limiter
    served = limiter.served

    def overdue_after_two(raw, **expected):
        if limiter.served == served + 2:
            raise PermissionDeniedError("Overdue balance.", status_code=400, code="Arrearage")
        return NATIVE.parse_response(raw, **expected)

    dispatcher._codec = replace(NATIVE, parse_response=overdue_after_two)
    with pytest.raises(PermissionDeniedError) as caught:
        batch(embedding, TEXTS)

    lengths = [None if row is None else len(row) for row in caught.value.result]
    assert lengths.count(64) == 20
    assert lengths.count(None) == 75
    assert len(service.requests) == 1 + 3


@both
def test_a_bad_key_stops_the_call(service, batch):
    with pytest.raises(AuthenticationError):
        batch(make(service, batch_size=5, api_key="sk-wrong"), TEXTS)

    assert len(service.requests) <= 10  # of 19


async def test_cancelling_a_call_cancels_its_requests(service):
    service.latency = 10.0
    embedding = make(service)
    waiting = asyncio.ensure_future(embedding.aget_text_embedding_batch(TEXTS))
    while len(service.requests) < 4:
        await asyncio.sleep(0.01)

    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0.1)
    sent = len(service.requests)
    await asyncio.sleep(0.1)
    assert len(service.requests) == sent < 10


class Listener(BaseEventHandler):
    rows: list

    def handle(self, event, **kwargs):
        if isinstance(event, EmbeddingEndEvent):
            self.rows.extend(event.embeddings)


@pytest.mark.parametrize("call", BATCHES)
def test_event_handlers_receive_the_vectors(service, call):
    listener = Listener(rows=[])
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(listener)
    try:
        rows = call(make(service), TEXTS)
    finally:
        dispatcher.event_handlers.remove(listener)

    assert listener.rows == rows
    assert len(rows[0]) == 1024


class Recorder(BaseEventHandler):
    events: list

    def handle(self, event, **kwargs):
        self.events.append(event)


@pytest.fixture
def recorder():
    recorder = Recorder(events=[])
    dispatcher = get_dispatcher()
    dispatcher.add_event_handler(recorder)
    yield recorder
    dispatcher.event_handlers.remove(recorder)


@pytest.fixture
def spans():
    spans = SimpleSpanHandler()
    dispatcher = get_dispatcher()
    dispatcher.add_span_handler(spans)
    yield spans
    dispatcher.span_handlers.remove(spans)


DENSE = (EmbeddingStartEvent, EmbeddingUsageEvent, EmbeddingEndEvent)
SPARSE = (SparseEmbeddingStartEvent, EmbeddingUsageEvent, SparseEmbeddingEndEvent)


@pytest.mark.parametrize(
    ("kind", "embed", "expected"),
    [
        (QwenEmbedding, lambda made: made.get_query_embedding("wind"), DENSE),
        (QwenEmbedding, lambda made: asyncio.run(made.aget_query_embedding("wind")), DENSE),
        (QwenEmbedding, lambda made: made.get_text_embedding("wind"), DENSE),
        (QwenEmbedding, lambda made: made.get_text_embedding_batch(["wind"]), DENSE),
        (
            QwenEmbedding,
            lambda made: asyncio.run(made.aget_text_embedding_batch(["wind"])),
            DENSE,
        ),
        (QwenSparseEmbedding, lambda made: made.get_query_embedding("wind"), SPARSE),
        (QwenSparseEmbedding, lambda made: made.get_text_embedding_batch(["wind"]), SPARSE),
    ],
)
def test_the_usage_of_a_call_is_an_event_within_its_span(
    service, recorder, spans, kind, embed, expected
):
    made = kind(api_key=API_KEY, base_url=service.native_url)

    embed(made)

    start, usage, end = recorder.events
    assert (type(start), type(usage), type(end)) == expected
    parents = {span.id_: span.parent_id for span in spans.completed_spans}
    assert start.span_id == end.span_id
    # LlamaIndex makes a span of the hook for single texts too, within that of the call.
    assert start.span_id in (usage.span_id, parents[usage.span_id])
    assert usage.model_dump(exclude={"timestamp", "id_", "span_id", "tags"}) == {
        "class_name": "EmbeddingUsageEvent",
        "model_name": "text-embedding-v4",
        "texts": 1,
        "requests": 1,
        "retries": 0,
        "cached": 0,
        "tokens": 1,
        "cost": 0.5 / 1_000_000,
        "currency": "CNY",
        "price_as_of": "2026-11",
    }


@both
def test_the_usage_of_a_list_is_one_event(service, recorder, batch):
    made = make(service)
    texts = [*TEXTS[:40], "word " * 10_000]

    with pytest.raises(PartialFailureError):
        batch(made, texts)

    told = [event for event in recorder.events if isinstance(event, EmbeddingUsageEvent)]
    assert len(told) == 1
    for name in ("texts", "requests", "retries", "tokens", "cost"):
        assert getattr(told[0], name) == pytest.approx(getattr(made.usage, name))


def test_no_event_is_made_without_a_handler(service, monkeypatch):
    monkeypatch.delattr(events, "EmbeddingUsageEvent")

    assert len(make(service).get_query_embedding("wind")) == 1024


class Counting(BaseRateLimiter):
    def __init__(self):
        self.acquired = []

    def acquire(self, num_tokens=0):
        raise AssertionError("a blocking limiter would stop the requests of all objects")

    async def async_acquire(self, num_tokens=0):
        self.acquired.append(num_tokens)


@pytest.mark.parametrize("call", BATCHES)
def test_a_rate_limiter_is_acquired_once_per_request_with_its_tokens(service, call):
    limiter = Counting()
    made = make(service, rate_limiter=limiter)

    call(made, [f"text {n}" for n in range(30)])
    made.get_query_embedding("who?")

    assert len(limiter.acquired) == len(service.requests) == 4
    assert all(tokens > 0 for tokens in limiter.acquired)


def test_a_pair_shares_the_rate_limiter(service):
    limiter = Counting()
    sparse = make(service, rate_limiter=limiter).sparse()

    sparse.get_query_embedding("who?")

    assert len(limiter.acquired) == 1


def test_a_rate_limiter_of_another_class_is_rejected(service):
    with pytest.raises(ValidationError, match="BaseRateLimiter"):
        make(service, rate_limiter=object())
