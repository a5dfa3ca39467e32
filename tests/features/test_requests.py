"""The requests to the service, the same through every interface of the core."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator
from qwen_embed.rate_limit.tuning import TUNING
from tests.support.held_engine import HeldEngine
from tests.support.interfaces import API_KEY, one_interface_per_package

PATH = "/api/v1/services/embeddings/text-embedding/text-embedding"
INSTRUCT = "Given a question, retrieve passages that answer it"


def body(texts: list[str], **parameters: Any) -> dict[str, Any]:
    return {"model": "text-embedding-v4", "input": {"texts": texts}, "parameters": parameters}


def test_a_list_is_sent_as_documents(interface, service):
    interface.documents(interface(service), ["风起了。", "The wind rises."])

    [request] = service.requests
    assert request.path == PATH
    assert request.body == body(["风起了。", "The wind rises."], text_type="document")


def test_a_query_is_sent_as_a_query(interface, service):
    interface.query(interface(service), "Who stole the tarts?")

    [request] = service.requests
    assert request.path == PATH
    assert request.body == body(["Who stole the tarts?"], text_type="query")


def test_every_option_of_the_service_is_sent(interface, service):
    interface.query(interface(service, dimension=256, instruct=INSTRUCT), "Who?")

    [request] = service.requests
    assert request.body == body(["Who?"], text_type="query", dimension=256, instruct=INSTRUCT)


def test_documents_are_sent_without_the_instruction(interface, service):
    interface.documents(interface(service, dimension=256, instruct=INSTRUCT), ["The wind rises."])

    [request] = service.requests
    assert request.body == body(["The wind rises."], text_type="document", dimension=256)


def test_the_key_and_the_workspace_are_sent_as_headers(interface, service):
    interface.query(interface(service, workspace="ws-1"), "Who?")

    [request] = service.requests
    assert request.api_key == interface(service).api_key.get_secret_value()
    assert {name.lower(): value for name, value in request.headers.items()}[
        "x-dashscope-workspace"
    ] == "ws-1"


def test_a_text_is_sent_unchanged(interface, service):
    text = "  line one\nline two\t«»\u0000 🎐  "

    interface.documents(interface(service), [text])

    assert service.requests[0].body["input"]["texts"] == [text]


@pytest.mark.parametrize(
    ("model", "requests"), [("text-embedding-v4", 10), ("text-embedding-v2", 4)]
)
def test_requests_are_as_large_as_the_model_allows(interface, service, model, requests):
    interface.documents(interface(service, model=model), [f"text {n}" for n in range(95)])

    assert len(service.requests) == requests


def test_batch_size_is_honoured(interface, service):
    interface.documents(interface(service, batch_size=4), [f"text {n}" for n in range(8)])

    assert [len(request.body["input"]["texts"]) for request in service.requests] == [4, 4]


def test_a_request_stays_within_the_token_budget(interface, service):
    texts = [letter * 30 for letter in "abcdef"]  # estimated at 10 tokens each

    interface.documents(interface(service, max_request_tokens=25), texts)

    assert [len(request.body["input"]["texts"]) for request in service.requests] == [2, 2, 2]


def test_duplicates_are_sent_once_and_each_gets_the_vector(interface, service):
    rows = interface.documents(interface(service), ["a", "b", "a", "a"])

    assert service.requests[0].body["input"]["texts"] == ["a", "b"]
    assert rows[0] == rows[2] == rows[3] != rows[1]
    rows[0][0] = 7.0
    assert rows[2][0] != 7.0


def test_an_empty_list_sends_nothing(interface, service):
    assert interface.documents(interface(service), []) == []
    assert service.requests == []


def test_vectors_are_in_the_order_of_the_texts_when_the_service_shuffles(interface, service):
    texts = [f"text number {n}" for n in range(37)]
    expected = interface.documents(interface(service), texts)
    service.shuffle = True

    assert interface.documents(interface(service), texts) == expected


@one_interface_per_package
def test_a_smaller_batch_limit_is_learned_from_the_error(interface, service):
    service.set_model("text-embedding-v4", texts_per_request=6)
    texts = [f"text {n}" for n in range(300)]
    embeddings = interface(service)

    rows = interface.documents(embeddings, texts)

    statuses = Counter(request.status for request in service.requests)
    assert len(rows) == 300
    assert statuses[200] == 50
    assert statuses[400] <= 4
    service.clear()
    interface.documents(embeddings, texts)
    assert Counter(request.status for request in service.requests) == {200: 50}


@one_interface_per_package
def test_no_text_is_embedded_twice_when_a_batch_is_too_large(interface, service):
    service.set_model("text-embedding-v4", texts_per_request=3)

    interface.documents(interface(service), [f"text {n}" for n in range(40)])

    answered = Counter(
        text
        for request in service.requests
        if request.status == 200
        for text in request.body["input"]["texts"]
    )
    assert set(answered.values()) == {1}
    assert len(answered) == 40


def test_requests_run_concurrently_up_to_the_limit(interface):
    engine = HeldEngine()
    engine.let_go()
    with Emulator(api_key=API_KEY, engine=engine) as service, ThreadPoolExecutor(1) as thread:
        embeddings = interface(service, max_concurrency=8, requests_per_minute=600_000)
        interface.query(embeddings, "so that the latency is known, and no slow start any more")
        engine.hold()

        call = thread.submit(interface.documents, embeddings, [f"text {n}" for n in range(160)])
        engine.let_go_when_in_flight(service, 8)

        assert len(call.result()) == 160
        assert service.peak_in_flight == 8


def test_an_unknown_model_gets_permissive_defaults_and_works(interface, service):
    service.set_model("text-embedding-v9", dimensions=(96,), default_dimension=96)

    rows = interface.documents(
        interface(service, model="text-embedding-v9", dimension=96), ["a", "b"]
    )

    assert [len(row) for row in rows] == [96, 96]


def test_two_objects_with_two_keys_and_hosts_work_together(interface, service):
    with Emulator(api_key="sk-other") as other:
        here = interface(service, dimension=64)
        there = interface(other, api_key="sk-other", model="text-embedding-v3", dimension=128)

        rows = [interface.query(here, "a"), interface.query(there, "a"), interface.query(here, "b")]

        assert [len(row) for row in rows] == [64, 128, 64]
        assert len(service.requests) == 2
        assert [request.api_key for request in other.requests] == ["sk-other"]


def test_a_progress_bar_counts_texts(interface, service, capsys):
    interface.documents(
        interface(service, show_progress_bar=True), [f"text {n}" for n in range(25)]
    )

    shown = capsys.readouterr().err
    assert "text-embedding-v4: 100%" in shown
    assert "25/25" in shown


def test_usage_adds_up_over_calls(interface, service):
    embeddings = interface(service, region="cn-beijing")
    interface.documents(embeddings, ["a", "b", "a"])
    interface.query(embeddings, "c")

    usage = embeddings.usage
    assert (usage.texts, usage.requests, usage.retries) == (4, 2, 0)
    assert usage.tokens == 3
    assert usage.cost == pytest.approx(3 * 0.5 / 1_000_000)
    assert usage.price.currency == "CNY"


@pytest.mark.parametrize(
    ("quota", "texts"),
    [
        ({"requests_per_minute": 1800}, [f"text {n}" for n in range(360)]),
        ({"tokens_per_minute": 60 * 20_000}, [f"{n} " + "word " * 200 for n in range(130)]),
    ],
    ids=["requests", "tokens"],
)
def test_a_configured_quota_is_respected_without_a_429(service, quota, texts):
    """Only through the core, as it takes a second: more texts than the quota admits at once."""
    service.set_quota(**quota)
    with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, **quota) as embedder:
        embedder.embed_documents(texts)

    assert Counter(request.status for request in service.requests) == {200: len(texts) / 10}


@pytest.mark.parametrize("option", ["requests_per_minute", "tokens_per_minute"])
def test_a_configured_quota_is_the_limit(interface, service, option):
    embeddings = interface(service, **{option: 6000})
    before = embeddings.limits

    interface.query(embeddings, "a")

    assert getattr(before, option) == pytest.approx(6000 * TUNING.safety_margin)
    assert embeddings.limits.requests_per_minute == before.requests_per_minute
    assert embeddings.limits.tokens_per_minute == before.tokens_per_minute


@one_interface_per_package
def test_discovering_a_quota_loses_nothing_and_costs_few_429s(interface, service):
    service.set_quota(requests_per_minute=1200)

    rows = interface.documents(interface(service), [f"text {n}" for n in range(300)])

    assert len(rows) == 300
    statuses = Counter(request.status for request in service.requests)
    assert statuses[200] == 30
    assert statuses[429] <= 20


@pytest.mark.parametrize(
    ("code", "throttled", "other"),
    [
        ("Throttling.RateQuota", "requests_per_minute", "tokens_per_minute"),
        ("Throttling.AllocationQuota", "tokens_per_minute", "requests_per_minute"),
    ],
)
@one_interface_per_package
def test_a_429_shows_in_the_limits_of_every_object_of_the_account(
    interface, service, code, throttled, other
):
    """The discovered pace is tested in simulated time: here it depends on the machine."""
    embeddings = interface(service)
    interface.documents(embeddings, [f"warm {n}" for n in range(100)])
    unknown = embeddings.limits
    service.fail_next(status=429, code=code, message="slower")

    interface.documents(embeddings, [f"text {n}" for n in range(20)])

    assert getattr(unknown, throttled) is getattr(unknown, other) is None
    assert Counter(request.status for request in service.requests) == {200: 12, 429: 1}
    assert getattr(embeddings.limits, throttled) > 0
    assert getattr(embeddings.limits, other) is None
    assert interface(service).limits == embeddings.limits


@pytest.mark.parametrize(("gzip", "asked"), [(False, "identity"), (True, "gzip")])
def test_compressed_responses_are_requested_only_with_gzip(interface, service, gzip, asked):
    interface.query(interface(service, gzip=gzip), "a")

    assert service.requests[0].headers["Accept-Encoding"] == asked
