"""Invalid input, rejections and faults: a clear error, no wasted requests, nothing lost."""

from __future__ import annotations

from collections import Counter

import pytest

from qwen_embed import (
    AuthenticationError,
    ConnectionFailedError,
    EmbeddingResult,
    InputError,
    ModelNotFoundError,
    ModerationError,
    PartialFailureError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TextRejectedError,
)
from qwen_embed.pipeline.retry import RetryPolicy
from tests.support.interfaces import one_interface_per_package


@pytest.fixture
def short_outage_limit(monkeypatch):
    """Give up an account that serves nothing after a moment instead of minutes."""
    monkeypatch.setattr(RetryPolicy, "outlasts", lambda self, seconds: seconds < 0.2)


@pytest.mark.parametrize(
    ("texts", "indices"),
    [
        (["fine", None, "fine", 3], (1, 3)),
        (["fine", "", "fine", " \n"], (1, 3)),
        (["fine", "\ud800"], (1,)),
        ([["nested"]], (0,)),
        ([b"bytes", "fine"], (0,)),
    ],
)
def test_all_invalid_texts_are_named_before_anything_is_sent(interface, service, texts, indices):
    with pytest.raises(InputError) as caught:
        interface.documents(interface(service), texts)

    assert caught.value.indices == indices
    assert all(f"texts[{index}]" in str(caught.value) for index in indices)
    assert service.requests == []


@pytest.mark.parametrize("query", ["", " ", None, 5, ["a list"]])
def test_an_invalid_query_raises_an_error_before_it_is_sent(interface, service, query):
    with pytest.raises(InputError):
        interface.query(interface(service), query)
    assert service.requests == []


def test_a_blank_text_gets_a_vector_of_zeros_if_requested(interface, service):
    rows = interface.documents(interface(service, empty_text="zero", dimension=64), ["", "a", " "])

    assert rows[0] == rows[2] == [0.0] * 64
    assert any(rows[1])
    assert service.requests[0].body["input"]["texts"] == ["a"]


def test_only_blank_texts_send_nothing(interface, service):
    assert (
        interface.documents(interface(service, empty_text="zero"), ["", " "]) == [[0.0] * 1024] * 2
    )
    assert service.requests == []


def test_a_bad_key_error_names_the_region_and_how_to_choose_another(interface, service):
    with pytest.raises(AuthenticationError) as caught:
        interface.documents(interface(service, api_key="sk-wrong", region="intl"), ["a"] * 3)

    error = caught.value
    assert (error.status_code, error.code) == (401, "InvalidApiKey")
    assert error.request_id
    message = str(error)
    assert "region ap-southeast-1" in message
    assert "region=" in message
    assert "cn-beijing" in message
    assert "sk-wrong" not in message
    assert len(service.requests) == 1


def test_a_bad_key_stops_a_large_call_after_a_handful_of_requests(interface, service):
    with pytest.raises(AuthenticationError):
        interface.documents(
            interface(service, api_key="sk-wrong"), [f"text {n}" for n in range(1000)]
        )

    assert len(service.requests) <= 4


def test_an_unknown_model_is_named(interface, service):
    with pytest.raises(ModelNotFoundError, match="text-embedding-v99"):
        interface.query(interface(service, model="text-embedding-v99"), "a")


def test_a_rejected_text_fails_alone_and_the_others_get_their_vectors(interface, service):
    texts = [f"text {n}" for n in range(40)]
    texts[13] = "word " * 10_000
    good = interface.documents(interface(service), ["text 0"])[0]

    with pytest.raises(PartialFailureError) as caught:
        interface.documents(interface(service), texts)

    [failure] = caught.value.failures
    assert failure.index == 13
    assert failure.text.startswith("word word")
    assert isinstance(failure.error, TextRejectedError)
    result = caught.value.result
    rows = list(result.dense if isinstance(result, EmbeddingResult) else result)
    assert len(rows) == 40
    assert list(rows[0]) == pytest.approx(good, abs=1e-6)
    answered = Counter(
        text
        for request in service.requests[1:]
        if request.status == 200
        for text in request.body["input"]["texts"]
    )
    assert set(answered.values()) == {1}
    assert len(answered) == 39


def test_a_single_rejected_text_raises_its_own_error(interface, service):
    service.fail_next(status=400, code="DataInspectionFailed", message="Inappropriate content.")

    with pytest.raises(ModerationError, match=r"Inappropriate content\."):
        interface.query(interface(service), "a")


@one_interface_per_package
def test_a_rejected_parameter_does_not_bisect_the_corpus(interface, service):
    service.fail_next(5000, status=400, code="InvalidParameter", message="no such parameter")

    with pytest.raises(TextRejectedError, match="no such parameter"):
        interface.documents(interface(service), [f"text {n}" for n in range(2000)])

    assert len(service.requests) < 40


@pytest.mark.parametrize(
    ("status", "code"),
    [(429, "Throttling.RateQuota"), (500, "InternalError"), (503, "ServiceUnavailable")],
)
@one_interface_per_package
def test_a_transient_failure_is_retried_alone(interface, service, instant_retries, status, code):
    service.fail_next(2, status=status, code=code, message="later")
    embeddings = interface(service)

    rows = interface.documents(embeddings, [f"text {n}" for n in range(50)])

    assert len(rows) == 50
    assert Counter(request.status for request in service.requests) == {status: 2, 200: 5}
    assert embeddings.usage.retries == 2


@pytest.mark.parametrize("when", ["before", "body"])
@one_interface_per_package
def test_a_lost_connection_is_retried(interface, service, instant_retries, when):
    service.drop_next(2, when=when)

    assert len(interface.documents(interface(service), [f"text {n}" for n in range(30)])) == 30


@one_interface_per_package
def test_an_html_page_of_a_proxy_is_retried(interface, service, instant_retries):
    service.fail_next(2, status=502, body=b"<html>Bad Gateway</html>")
    service.fail_next(1, status=200, body=b"<html>Welcome</html>")

    assert len(interface.documents(interface(service), ["a", "b"])) == 2


@pytest.mark.usefixtures("instant_retries", "short_outage_limit")
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(500, "InternalError", ServerError), (429, "Throttling.RateQuota", RateLimitError)],
)
@one_interface_per_package
def test_a_service_that_never_recovers_is_given_up(interface, service, status, code, error):
    service.fail_next(1000, status=status, code=code, message="down")

    with pytest.raises(error):
        interface.documents(interface(service, max_retries=2), [f"text {n}" for n in range(500)])

    assert len(service.requests) <= 32 * 3  # every request that one call prepares, three times


def test_a_host_that_is_not_there_is_a_connection_error(interface, service, instant_retries):
    embeddings = interface(service, base_url="http://127.0.0.1:9/api/v1", max_retries=1)

    with pytest.raises(ConnectionFailedError):
        interface.query(embeddings, "a")


@one_interface_per_package
def test_a_request_that_hangs_times_out(interface, service):
    service.latency = 5.0

    with pytest.raises(RequestTimeoutError, match=r"No complete response within 0\.1 seconds"):
        interface.query(interface(service, timeout=0.1, max_retries=0), "a")
