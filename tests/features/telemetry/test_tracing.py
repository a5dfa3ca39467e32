"""Spans of calls and requests, as OpenTelemetry's own SDK collects them."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import ANY

import pytest
from langchain_core.rate_limiters import BaseRateLimiter
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

from langchain_qwen_embed import QwenEmbeddings
from qwen_embed import (
    AuthenticationError,
    ConnectionFailedError,
    PartialFailureError,
    QwenEmbedder,
    RequestTimeoutError,
    TextRejectedError,
)
from qwen_embed.emulator import Emulator
from qwen_embed.transports.default import AiohttpTransport
from tests.support.interfaces import API_KEY, one_interface_per_package
from tests.support.network import port_of, serving

PATH = "/services/embeddings/text-embedding/text-embedding"
TOO_LONG = "word " * 10_000


class Spans:
    """The spans that a provider has collected, in the order of their start."""

    def __init__(self, sampler=None):
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("the user's")

    @property
    def all(self):
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    @property
    def calls(self):
        return [span for span in self.all if span.name.startswith("embeddings ")]

    @property
    def requests(self):
        return [span for span in self.all if span.name == "POST"]

    def set(self, monkeypatch):
        # The program's own call, `set_tracer_provider`, works once in a process.
        monkeypatch.setattr(trace, "_TRACER_PROVIDER", self.provider)


@pytest.fixture
def spans(monkeypatch):
    spans = Spans()
    spans.set(monkeypatch)
    return spans


def parent_of(span):
    return span.parent and span.parent.span_id


def failure_of(span):
    status = span.status
    kind = span.attributes.get("error.type")
    assert (status.status_code is StatusCode.ERROR) == (kind is not None)
    return kind, status.description


def server_of(service):
    return {"server.address": "127.0.0.1", "server.port": port_of(service)}


@pytest.mark.parametrize(
    ("embed", "text_type", "texts"),
    [
        (lambda interface, made: interface.documents(made, ["wind", "sea", "wind"]), "document", 3),
        (lambda interface, made: interface.query(made, "wind"), "query", 1),
    ],
    ids=["documents", "query"],
)
def test_a_call_is_a_span_and_its_request_another_within(
    interface, service, spans, embed, text_type, texts
):
    made = interface(service, dimension=64)

    embed(interface, made)

    call, request = spans.all
    assert (call.name, call.kind, parent_of(call)) == (
        "embeddings text-embedding-v4",
        SpanKind.CLIENT,
        None,
    )
    assert dict(call.attributes) == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "dashscope",
        "gen_ai.request.model": "text-embedding-v4",
        "gen_ai.embeddings.dimension.count": 64,
        "gen_ai.usage.input_tokens": made.usage.tokens,
        **server_of(service),
        "qwen_embed.text_type": text_type,
        "qwen_embed.output": "dense",
        "qwen_embed.texts": texts,
        "qwen_embed.requests": 1,
        "qwen_embed.retries": 0,
    }
    assert (request.name, request.kind, parent_of(request)) == (
        "POST",
        SpanKind.CLIENT,
        call.context.span_id,
    )
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "url.full": service.native_url + PATH,
        **server_of(service),
        "qwen_embed.texts": min(texts, 2),  # each once
        "qwen_embed.request_id": ANY,
        "qwen_embed.tokens": made.usage.tokens,
    }
    assert (failure_of(call), failure_of(request)) == ((None, None), (None, None))
    assert call.start_time <= request.start_time < request.end_time <= call.end_time


def test_a_call_belongs_to_the_span_that_the_caller_is_in(interface, service, spans):
    made = interface(service)

    with spans.tracer.start_as_current_span("the user's") as outer:
        interface.documents(made, ["a"])

    [call] = spans.calls
    assert parent_of(call) == outer.context.span_id
    assert {span.context.trace_id for span in spans.all} == {outer.context.trace_id}


def test_threads_that_share_an_object_keep_their_spans_apart(service, spans):
    made = QwenEmbeddings(api_key=API_KEY, base_url=service.native_url)
    outer = {}

    def embed(number):
        with spans.tracer.start_as_current_span("the user's") as span:
            outer[number] = span.context.span_id
            made.embed_documents([f"text {n}" for n in range(number)])

    threads = [threading.Thread(target=embed, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    inner = {span.attributes["qwen_embed.texts"]: parent_of(span) for span in spans.calls}
    assert inner == outer


async def test_tasks_that_share_an_object_keep_their_spans_apart(service, spans):
    made = QwenEmbedder(api_key=API_KEY, base_url=service.native_url)
    outer = {}

    async def embed(number):
        with spans.tracer.start_as_current_span("the user's") as span:
            outer[number] = span.context.span_id
            await made.aembed_documents([f"text {n}" for n in range(number)])

    await asyncio.gather(*map(embed, range(1, 9)))

    inner = {span.attributes["qwen_embed.texts"]: parent_of(span) for span in spans.calls}
    assert inner == outer


def test_every_request_of_a_call_is_a_span_of_its_own(interface, service, spans):
    interface.documents(interface(service), [f"text {n}" for n in range(25)])

    [call] = spans.calls
    assert sorted(span.attributes["qwen_embed.texts"] for span in spans.requests) == [5, 10, 10]
    assert {parent_of(span) for span in spans.requests} == {call.context.span_id}


def test_every_attempt_is_a_span_and_a_call_that_recovers_is_no_error(
    service, spans, instant_retries
):
    service.fail_next(2, status=503, code="ServiceUnavailable")

    QwenEmbedder(api_key=API_KEY, base_url=service.native_url).embed_query("a")

    attempts = [
        (
            failure_of(span),
            span.attributes["http.response.status_code"],
            span.attributes.get("http.request.resend_count"),
        )
        for span in spans.requests
    ]
    busy = ("ServerError", "503 ServiceUnavailable")
    assert attempts == [(busy, 503, None), (busy, 503, 1), ((None, None), 200, 2)]
    [call] = spans.calls
    assert failure_of(call) == (None, None)
    assert (call.attributes["qwen_embed.requests"], call.attributes["qwen_embed.retries"]) == (3, 2)


def test_a_call_that_fails_ends_with_its_error(interface, service, spans):
    with pytest.raises(AuthenticationError) as caught:
        interface.query(interface(service, api_key="sk-another-key"), "a")

    [call], [request] = spans.calls, spans.requests
    assert failure_of(call) == failure_of(request) == ("AuthenticationError", "401 InvalidApiKey")
    assert request.attributes["qwen_embed.request_id"] == caught.value.request_id
    assert dict(call.attributes).keys() >= {"qwen_embed.requests", "qwen_embed.retries"}


@one_interface_per_package
def test_texts_that_fail_make_the_call_an_error(interface, service, spans):
    with pytest.raises(PartialFailureError):
        interface.documents(interface(service), ["wind", TOO_LONG, "sea"])

    [call] = spans.calls
    assert failure_of(call) == ("PartialFailureError", "1 texts failed")
    assert call.attributes["gen_ai.usage.input_tokens"] > 0


def test_a_single_text_that_fails_ends_the_span_with_its_own_error(interface, service, spans):
    with pytest.raises(TextRejectedError):
        interface.query(interface(service), TOO_LONG)

    assert {failure_of(span) for span in spans.all} == {
        ("TextRejectedError", "400 InvalidParameter")
    }


def test_a_lost_connection_has_no_status(interface, service, spans):
    service.drop_next(1)

    with pytest.raises(ConnectionFailedError):
        interface.query(interface(service, max_retries=0), "a")

    [request] = spans.requests
    assert failure_of(request) == ("ConnectionFailedError", "ServerDisconnectedError")
    assert "http.response.status_code" not in request.attributes


def test_a_call_that_times_out_ends_its_span_and_those_of_its_requests(service, spans):
    service.latency = 10.0
    made = QwenEmbedder(api_key=API_KEY, base_url=service.native_url, total_timeout=0.2)

    with pytest.raises(RequestTimeoutError):
        made.embed_query("a")

    [call], [request] = spans.calls, spans.requests
    assert failure_of(call)[0] == "RequestTimeoutError"
    assert failure_of(request) == ("CancelledError", None)


async def test_a_call_that_is_cancelled_ends_its_spans(service, spans):
    service.latency = 10.0
    made = QwenEmbedder(api_key=API_KEY, base_url=service.native_url)
    waiting = asyncio.ensure_future(made.aembed_query("a"))
    while not service.requests:
        await asyncio.sleep(0.01)

    waiting.cancel()
    while not spans.calls:
        await asyncio.sleep(0.01)

    assert [failure_of(span)[0] for span in spans.all] == ["CancelledError"] * 2


def test_an_invalid_text_makes_no_span(interface, service, spans):
    with pytest.raises(ValueError, match="empty"):
        interface.documents(interface(service), ["a", ""])

    assert spans.all == []


def test_a_kept_vector_is_a_call_without_requests(service, spans):
    dense = QwenEmbeddings(api_key=API_KEY, base_url=service.native_url)
    sparse = dense.sparse()

    dense.embed_documents(["a"])
    sparse.embed_documents(["a"])

    assert [span.attributes["qwen_embed.requests"] for span in spans.calls] == [1, 0]
    assert {span.attributes["qwen_embed.output"] for span in spans.calls} == {"dense&sparse"}
    assert "gen_ai.usage.input_tokens" not in spans.calls[1].attributes


def test_sparse_vectors_have_no_dimension(service, spans):
    made = QwenEmbedder(api_key=API_KEY, base_url=service.native_url, output="sparse")

    made.embed_query("a")

    [call] = spans.calls
    assert call.attributes["qwen_embed.output"] == "sparse"
    assert "gen_ai.embeddings.dimension.count" not in call.attributes


def test_a_stream_is_a_call_for_each_block(service, spans):
    made = QwenEmbedder(api_key=API_KEY, base_url=service.native_url, dimension=64)

    with spans.tracer.start_as_current_span("the user's") as outer:
        rows = list(made.embed_stream(f"text {n}" for n in range(400)))

    assert len(rows) == sum(span.attributes["qwen_embed.texts"] for span in spans.calls) == 400
    assert {parent_of(span) for span in spans.calls} == {outer.context.span_id}
    assert len(spans.calls) > 1


class Remembering(BaseRateLimiter):
    """Admits every request, and remembers the current span."""

    def acquire(self, *, blocking=True):
        raise AssertionError("a blocking limiter would stop the requests of all objects")

    async def aacquire(self, *, blocking=True):
        self.asked_in = trace.get_current_span().get_span_context().span_id
        return True


def test_spans_made_during_a_call_belong_to_its_span_or_its_requests(service, spans, monkeypatch):
    limiter = Remembering()
    made = QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, rate_limiter=limiter)
    sent_in = []

    async def post(self, path, body, post=AiohttpTransport.post):
        sent_in.append(trace.get_current_span().get_span_context().span_id)
        return await post(self, path, body)

    monkeypatch.setattr(AiohttpTransport, "post", post)
    made.embed_query("a")

    call, request = spans.all
    assert limiter.asked_in == call.context.span_id
    assert sent_in == [request.context.span_id]


@one_interface_per_package
def test_a_provider_set_after_the_first_call_gets_the_next_span(interface, service, monkeypatch):
    spans = Spans()
    made = interface(service)
    interface.query(made, "a")

    spans.set(monkeypatch)
    interface.query(made, "b")

    assert [span.name for span in spans.all] == ["embeddings text-embedding-v4", "POST"]


def test_a_call_that_is_not_sampled_has_no_span(interface, service, monkeypatch):
    spans = Spans(sampler=ALWAYS_OFF)
    spans.set(monkeypatch)

    assert len(interface.query(interface(service), "a")) == 1024
    assert spans.all == []


TEXT = "the wind over Shaoxing"


def echo(service, status):
    message = f"{TEXT} with {API_KEY}"
    service.fail_next(9, status=status, code="SomeCode", message=message)


async def echo_all(reader, writer):
    """Echo the request, which is not a valid HTTP response."""
    await reader.readuntil(b"\r\n\r\n")
    body = await reader.readuntil(b"}}")
    writer.write(body + b"\r\n" + API_KEY.encode() + b"\r\n\r\n")
    await writer.drain()
    await reader.read()


def test_neither_key_nor_text_is_in_the_span_of_a_response_that_is_not_http(spans):
    with serving(echo_all) as port:
        made = QwenEmbedder(api_key=API_KEY, base_url=f"http://127.0.0.1:{port}", max_retries=0)
        with pytest.raises(ConnectionFailedError, match="Shaoxing"):
            made.embed_query(TEXT)

    assert {failure_of(span)[0] for span in spans.all} == {"ConnectionFailedError"}
    assert "Shaoxing" not in "".join(span.to_json() for span in spans.all)


FAILURES = {
    "none": lambda service: None,
    "a refusal that repeats all": lambda service: echo(service, 400),
    "a bad key": lambda service: echo(service, 401),
    "the service's fault": lambda service: echo(service, 500),
    "a page": lambda service: service.fail_next(9, status=502, body=f"{TEXT} {API_KEY}".encode()),
    "not JSON": lambda service: service.fail_next(9, status=200, body=f"{TEXT} {API_KEY}".encode()),
    "lost": lambda service: service.drop_next(9),
    "not there": lambda service: service.stop(),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_neither_key_nor_text_is_in_any_span(interface, service, spans, failure):
    made = interface(service, max_retries=0)
    failure(service)

    try:
        interface.query(made, TEXT)
    except Exception:
        assert failure is not FAILURES["none"]

    collected = "".join(span.to_json() for span in spans.all)
    assert len(spans.all) == 2
    assert API_KEY not in collected
    assert TEXT not in collected


def test_the_span_of_a_self_hosted_server_names_its_protocol_and_encoding(spans):
    with Emulator(backend="vllm") as server:
        made = QwenEmbedder(model="Qwen/Qwen3-Embedding-0.6B", base_url=server.openai_url)
        made.embed_query("wind")
        root = server.openai_url

    call, request = spans.all
    assert call.attributes["gen_ai.provider.name"] == "openai"
    assert call.attributes["gen_ai.request.encoding_formats"] == ("base64",)
    assert request.attributes["url.full"] == f"{root}/embeddings"
