"""Many transient faults: nothing is lost or embedded twice, and no request delays the others."""

from __future__ import annotations

import random
import socket
import sys
from collections import Counter
from contextlib import ExitStack

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen_embed import (
    InputError,
    PartialFailureError,
    QwenEmbedder,
    RequestTimeoutError,
    TextRejectedError,
)
from qwen_embed.emulator import Emulator
from qwen_embed.emulator.tokens import count_tokens
from qwen_embed.pipeline.retry import RetryPolicy
from tests.support.interfaces import API_KEY, one_interface_per_package


@pytest.fixture
def fast_retries(monkeypatch):
    wait = RetryPolicy.wait
    monkeypatch.setattr(RetryPolicy, "wait", lambda *args: None if wait(*args) is None else 0.01)


def answered(service):
    """Return how often each text was embedded successfully."""
    return Counter(
        text
        for request in service.requests
        if request.status == 200 and request.whole
        for text in request.body["input"]["texts"]
    )


def test_10_000_texts_survive_many_faults_whole_and_in_order(service, fast_retries):
    texts = [f"text {n}" for n in range(10_000)]
    options = {"api_key": API_KEY, "base_url": service.native_url, "dimension": 64}
    with QwenEmbedder(**options, max_retries=20) as embedder:
        embedder.embed_documents([f"warm {n}" for n in range(1000)])
        service.clear()
        service.inject_faults(0.1, seed=4)

        result = embedder.embed_documents(texts)

    assert set(answered(service).values()) == {1}
    assert len(answered(service)) == 10_000
    statuses = Counter(request.status for request in service.requests)
    assert {200, 429, 500, 502, 503, None} <= set(statuses)
    assert result.usage.requests == len(service.requests)
    service.inject_faults(0)
    with QwenEmbedder(**options) as again:
        for index in random.Random(1).sample(range(10_000), 50):  # noqa: S311 -- no secret
            assert (again.embed_documents([texts[index]]).dense[0] == result.dense[index]).all()


@one_interface_per_package
def test_many_faults_lose_nothing_through_any_interface(interface, service, fast_retries):
    texts = [f"text {n}" for n in range(400)]
    expected = interface.documents(interface(service, dimension=64), texts)
    service.clear()
    service.inject_faults(0.2, seed=7)

    rows = interface.documents(interface(service, dimension=64, max_retries=20), texts)

    assert rows == expected
    assert set(answered(service).values()) == {1}


def test_a_rejected_text_fails_alone_among_many_faults(service, fast_retries):
    texts = [f"text {n}" for n in range(200)]
    texts[77] = "word " * 20_000
    with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, max_retries=20) as embedder:
        embedder.embed_documents([f"warm {n}" for n in range(200)])
        service.clear()
        service.inject_faults(0.2, seed=1)
        with pytest.raises(PartialFailureError) as caught:
            embedder.embed_documents(texts)

    assert [failure.index for failure in caught.value.failures] == [77]
    innocent = answered(service)
    assert set(innocent.values()) == {1}
    assert len(innocent) == 199


@one_interface_per_package
def test_a_call_that_times_out_returns_the_vectors_that_arrived(interface, service):
    embeddings = interface(service, total_timeout=0.6, max_concurrency=1, dimension=64)
    interface.query(embeddings, "so that there is a connection")
    service.latency = 0.05

    with pytest.raises(RequestTimeoutError, match=r"total_timeout, 0\.6 seconds") as caught:
        interface.documents(embeddings, [f"text {n}" for n in range(1000)])

    done = caught.value.result
    rows = getattr(done, "dense", done)
    count = sum(row is not None and row[0] == row[0] for row in rows)  # NaN is not itself
    assert len(rows) == 1000
    assert 10 <= count <= 120
    assert count % 10 == 0


def test_a_call_within_its_time_is_not_stopped(interface, service):
    assert len(interface.documents(interface(service, total_timeout=30.0), ["a", "b"])) == 2


def test_a_stream_has_one_deadline(service):
    service.latency = 0.05
    options = {"api_key": API_KEY, "base_url": service.native_url, "dimension": 64}
    got = []

    def stream(embedder):
        for row in embedder.embed_stream(f"text {n}" for n in range(10_000)):
            got.append(row)  # noqa: PERF402 -- the vectors before the error count

    with (
        QwenEmbedder(**options, total_timeout=0.6, max_concurrency=2, batch_size=2) as embedder,
        pytest.raises(RequestTimeoutError),
    ):
        stream(embedder)

    assert 0 < len(got) < 60


@pytest.fixture
def crowded_port():
    """Return a port that never accepts a connection, because its queue is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse where a queue is full")
@one_interface_per_package
def test_a_connection_that_is_never_accepted_times_out(interface, crowded_port):
    embeddings = interface.make(
        api_key=API_KEY,
        base_url=f"http://127.0.0.1:{crowded_port}/api/v1",
        connect_timeout=0.2,
        max_retries=0,
    )

    with pytest.raises(RequestTimeoutError, match=r"No connection within 0\.2 seconds"):
        interface.query(embeddings, "a")


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=40),
        st.text(st.characters(categories=["Mn", "Cs", "Zs", "Cc", "So", "Lo"]), max_size=10),
        st.sampled_from(["", " ", "\u0000", "\ud800", "e\u0301", "שלום", "👩‍👩‍👧", "x" * 300]),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def emulator():
    with Emulator(api_key=API_KEY) as service:
        yield service


@pytest.fixture(scope="module")
def embedder(emulator):
    with QwenEmbedder(api_key=API_KEY, base_url=emulator.native_url, dimension=64) as embedder:
        embedder.embed_query("so that a refusal is known to be a text's and not the request's")
        yield embedder


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(texts=TEXTS)
def test_any_texts_get_their_vectors_or_one_error_names_the_invalid(texts, emulator, embedder):
    emulator.clear()
    faulty = [
        index
        for index, text in enumerate(texts)
        if not text.strip() or any("\ud800" <= letter <= "\udfff" for letter in text)
    ]

    # Only the service knows which texts have no token, for example a single control character.
    unread = [index for index, text in enumerate(texts) if not faulty and not count_tokens(text)]
    if faulty:
        with pytest.raises(InputError) as caught:
            embedder.embed_documents(texts)
        assert list(caught.value.indices) == faulty
        assert emulator.requests == []
    elif unread:
        with pytest.raises((PartialFailureError, TextRejectedError)) as caught:
            embedder.embed_documents(texts)
        if len(texts) > 1:
            assert [failure.index for failure in caught.value.failures] == unread
    else:
        result = embedder.embed_documents(texts)
        assert result.dense.shape[0] == len(texts)
        assert set(answered(emulator).values()) <= {1}
        for text, row in zip(texts[:3], result.dense, strict=False):
            assert (embedder.embed_documents([text]).dense[0] == row).all()
