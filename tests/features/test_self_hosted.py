"""The OpenAI-compatible protocol, of the service and of self-hosted servers."""

from __future__ import annotations

import math
import random

import pytest

from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator
from qwen_embed.errors import (
    AuthenticationError,
    InvalidResponseError,
    PartialFailureError,
    RequestError,
    UnsupportedDimensionError,
)
from tests.support.interfaces import API_KEY, one_interface_per_package

pytestmark = pytest.mark.filterwarnings("ignore::qwen_embed.errors.QueryRoleWarning")

MODEL = "Qwen/Qwen3-Embedding-0.6B"
TEXTS = [f"text {n}" for n in range(25)]


@pytest.fixture
def vllm():
    with Emulator(backend="vllm") as server:
        yield server


def playing(name):
    return Emulator(backend=name)


def own(interface, server, **options):
    return interface.make(model=MODEL, base_url=server.openai_url, **options)


def test_the_service_is_called_by_the_compatible_protocol(interface, service):
    service.shuffle = True
    embeddings = interface(service, base_url=service.openai_url, dimension=64)

    rows = interface.documents(embeddings, TEXTS)
    query = interface.query(embeddings, "text 3")

    assert [len(request.body["input"]) for request in service.requests[:-1]].count(10) == 2
    assert service.requests[-1].body == {
        "model": "text-embedding-v4",
        "input": ["text 3"],
        "encoding_format": "base64",
        "dimensions": 64,
    }
    assert service.requests[-1].api_key == API_KEY
    assert query == pytest.approx(rows[3], abs=1e-6)  # no roles


@one_interface_per_package
def test_both_protocols_give_documents_the_same_vectors(interface, service):
    native = interface.documents(interface(service, dimension=64), TEXTS)
    compatible = interface.documents(
        interface(service, base_url=service.openai_url, dimension=64), TEXTS
    )

    assert compatible == [pytest.approx(row, abs=1e-6) for row in native]


@one_interface_per_package
def test_numbers_may_come_as_json_if_base64_was_requested(interface, service):
    packed = interface.documents(
        interface(service, base_url=service.openai_url, dimension=64), TEXTS
    )
    service.base64_as_floats = True
    printed = interface.documents(
        interface(service, base_url=service.openai_url, dimension=64), TEXTS
    )

    assert printed == [pytest.approx(row, abs=1e-6) for row in packed]


@one_interface_per_package
def test_a_server_without_base64_is_asked_for_json_numbers(interface, vllm):
    refusal = {"code": "BadRequestError", "message": "base64 encoding is not currently supported"}
    vllm.fail_next(1, status=400, **refusal)
    embeddings = own(interface, vllm, batch_size=10, max_concurrency=1)

    assert len(interface.documents(embeddings, TEXTS)) == 25

    formats = [request.body["encoding_format"] for request in vllm.requests]
    assert formats == ["base64", "float", "float", "float"]


@one_interface_per_package
def test_many_faults_lose_nothing_by_the_compatible_protocol(service, interface, instant_retries):
    embeddings = interface(service, base_url=service.openai_url, dimension=64, max_retries=20)
    calm = interface.documents(embeddings, TEXTS * 2)
    service.inject_faults(0.2, seed=1)

    assert interface.documents(embeddings, TEXTS * 2) == calm


@one_interface_per_package
def test_a_rejected_text_fails_alone_by_the_compatible_protocol(interface, service):
    embeddings = interface(service, base_url=service.openai_url, dimension=64)

    with pytest.raises(PartialFailureError) as caught:
        interface.documents(embeddings, [*TEXTS, "word " * 9000])

    assert [failure.index for failure in caught.value.failures] == [25]


@one_interface_per_package
def test_a_smaller_batch_limit_is_learned_by_the_compatible_protocol(interface, service):
    service.set_model("text-embedding-v4", texts_per_request=6)
    embeddings = interface(service, base_url=service.openai_url, dimension=64)

    assert len(interface.documents(embeddings, TEXTS)) == 25
    assert max(len(request.body["input"]) for request in service.requests[-4:]) <= 6


def test_a_self_hosted_server_needs_no_key_and_gets_queries_in_their_template(interface, vllm):
    embeddings = own(interface, vllm, instruct="Find the passage")

    rows = interface.documents(embeddings, ["The wind rises."])
    interface.query(embeddings, "What does the wind do?")

    documents, query = vllm.requests
    assert documents.body == {
        "model": MODEL,
        "input": ["The wind rises."],
        "encoding_format": "base64",
    }
    assert query.body["input"] == ["Instruct: Find the passage\nQuery:What does the wind do?"]
    assert (documents.api_key, len(rows[0])) == (None, 1024)


@pytest.mark.parametrize("server", ["vllm", "vllm-0.10.0"])
def test_a_server_that_rejects_dimensions_gets_one_request_and_the_error_says_what_to_do(
    interface, server
):
    with playing(server) as running:
        embeddings = own(interface, running, dimension=256)

        with pytest.raises(UnsupportedDimensionError, match=r"matryoshka.*truncate_locally=True"):
            interface.documents(embeddings, [f"text {n}" for n in range(1000)])

        assert len(running.requests) <= 4


@pytest.mark.parametrize("server", ["vllm", "lm-studio"])
@one_interface_per_package
def test_vectors_are_truncated_and_scaled_locally_if_the_server_does_not(interface, server):
    with playing(server) as running:
        whole = interface.documents(own(interface, running), ["The wind rises."])[0]
        cut = interface.documents(
            own(interface, running, dimension=256, truncate_locally=True), ["The wind rises."]
        )[0]

    norm = math.hypot(*whole[:256])
    assert cut == pytest.approx([value / norm for value in whole[:256]], abs=1e-6)


@one_interface_per_package
def test_vectors_truncated_by_a_server_equal_those_truncated_locally(interface):
    with playing("vllm-matryoshka") as running:
        there = interface.documents(own(interface, running, dimension=256), TEXTS)
        here = interface.documents(
            own(interface, running, dimension=256, truncate_locally=True), TEXTS
        )

    assert here == [pytest.approx(row, abs=1e-6) for row in there]


def test_a_server_that_ignores_dimensions_is_noticed_and_nothing_is_returned(interface):
    with playing("lm-studio") as running:
        embeddings = own(interface, running, dimension=256)

        with pytest.raises(
            InvalidResponseError, match=r"expected 256 dimensions, got 1024.*truncate_locally"
        ):
            interface.documents(embeddings, TEXTS)


@one_interface_per_package
def test_a_smaller_batch_limit_of_a_server_is_learned(interface):
    with playing("tei") as running:
        embeddings = own(interface, running, batch_size=100)

        assert len(interface.documents(embeddings, [f"text {n}" for n in range(150)])) == 150
        assert len(running.requests[-1].body["input"]) <= 32


def test_a_key_that_a_self_hosted_server_does_not_get_is_mentioned(interface, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", API_KEY)
    with Emulator(backend="vllm", api_key="sk-of-mine") as running:
        with pytest.raises(AuthenticationError, match="key that this server expects"):
            interface.query(own(interface, running), "a")
        assert running.requests[0].api_key is None
        assert interface.query(own(interface, running, api_key="sk-of-mine"), "a")


def test_a_self_hosted_server_is_sent_32_texts_per_request(vllm):
    with QwenEmbedder(model=MODEL, base_url=vllm.openai_url) as embedder:
        embedder.embed_documents([f"text {n}" for n in range(70)])

    assert sorted(len(request.body["input"]) for request in vllm.requests) == [6, 32, 32]


@pytest.mark.parametrize("seed", range(6))
def test_any_fault_gives_a_typed_error_or_all_vectors(vllm, seed, instant_retries):
    chance = random.Random(seed)  # noqa: S311 -- no secret
    for _ in range(5):
        vllm.fail_next(
            1,
            status=chance.choice([400, 404, 413, 422, 429, 500, 503]),
            body=chance.choice([b"", b"<html>", b'"no"', b'{"detail": "Not Found"}', None]),
        )
    embedder = QwenEmbedder(model=MODEL, base_url=vllm.openai_url, batch_size=5, max_retries=1)

    try:
        rows = embedder.embed_documents(TEXTS).dense
    except (RequestError, PartialFailureError):
        return
    assert rows.shape == (25, 1024)
