"""The OpenAI-compatible protocol, of the service and of servers of one's own, by every face."""

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
from tests.support.faces import API_KEY, one_face_a_package

pytestmark = pytest.mark.filterwarnings("ignore::qwen_embed.errors.QueryRoleWarning")

MODEL = "Qwen/Qwen3-Embedding-0.6B"
TEXTS = [f"text {n}" for n in range(25)]


@pytest.fixture
def vllm():
    with Emulator(backend="vllm") as server:
        yield server


def playing(name):
    return Emulator(backend=name)


def own(face, server, **options):
    return face.make(model=MODEL, base_url=server.openai_url, **options)


def test_the_service_is_asked_by_the_compatible_protocol(face, service):
    service.shuffle = True
    embeddings = face(service, base_url=service.openai_url, dimension=64)

    rows = face.documents(embeddings, TEXTS)
    query = face.query(embeddings, "text 3")

    assert [len(request.body["input"]) for request in service.requests[:-1]].count(10) == 2
    assert service.requests[-1].body == {
        "model": "text-embedding-v4",
        "input": ["text 3"],
        "encoding_format": "base64",
        "dimensions": 64,
    }
    assert service.requests[-1].api_key == API_KEY
    assert query == pytest.approx(rows[3], abs=1e-6)  # no roles


@one_face_a_package
def test_both_protocols_give_documents_the_same_rows(face, service):
    native = face.documents(face(service, dimension=64), TEXTS)
    compatible = face.documents(face(service, base_url=service.openai_url, dimension=64), TEXTS)

    assert compatible == [pytest.approx(row, abs=1e-6) for row in native]


@one_face_a_package
def test_numbers_may_come_printed_where_they_were_asked_for_packed(face, service):
    packed = face.documents(face(service, base_url=service.openai_url, dimension=64), TEXTS)
    service.base64_as_floats = True
    printed = face.documents(face(service, base_url=service.openai_url, dimension=64), TEXTS)

    assert printed == [pytest.approx(row, abs=1e-6) for row in packed]


@one_face_a_package
def test_a_server_that_does_not_know_base64_is_asked_for_numbers(face, vllm):
    refusal = {"code": "BadRequestError", "message": "base64 encoding is not currently supported"}
    vllm.fail_next(1, status=400, **refusal)
    embeddings = own(face, vllm, batch_size=10, max_concurrency=1)

    assert len(face.documents(embeddings, TEXTS)) == 25

    formats = [request.body["encoding_format"] for request in vllm.requests]
    assert formats == ["base64", "float", "float", "float"]


@one_face_a_package
def test_a_storm_loses_nothing_by_the_compatible_protocol(service, face, no_waiting):
    embeddings = face(service, base_url=service.openai_url, dimension=64, max_retries=20)
    calm = face.documents(embeddings, TEXTS * 2)
    service.inject_faults(0.2, seed=1)

    assert face.documents(embeddings, TEXTS * 2) == calm


@one_face_a_package
def test_a_text_at_fault_fails_alone_by_the_compatible_protocol(face, service):
    embeddings = face(service, base_url=service.openai_url, dimension=64)

    with pytest.raises(PartialFailureError) as caught:
        face.documents(embeddings, [*TEXTS, "word " * 9000])

    assert [failure.index for failure in caught.value.failures] == [25]


@one_face_a_package
def test_a_smaller_cap_is_learnt_by_the_compatible_protocol(face, service):
    service.set_model("text-embedding-v4", texts_per_request=6)
    embeddings = face(service, base_url=service.openai_url, dimension=64)

    assert len(face.documents(embeddings, TEXTS)) == 25
    assert max(len(request.body["input"]) for request in service.requests[-4:]) <= 6


def test_a_server_of_ones_own_needs_no_key_and_gets_queries_in_their_template(face, vllm):
    embeddings = own(face, vllm, instruct="Find the passage")

    rows = face.documents(embeddings, ["The wind rises."])
    face.query(embeddings, "What does the wind do?")

    documents, query = vllm.requests
    assert documents.body == {
        "model": MODEL,
        "input": ["The wind rises."],
        "encoding_format": "base64",
    }
    assert query.body["input"] == ["Instruct: Find the passage\nQuery:What does the wind do?"]
    assert (documents.api_key, len(rows[0])) == (None, 1024)


@pytest.mark.parametrize("server", ["vllm", "vllm-0.10.0"])
def test_a_server_that_refuses_dimensions_is_asked_once_and_the_error_says_what_to_do(face, server):
    with playing(server) as running:
        embeddings = own(face, running, dimension=256)

        with pytest.raises(UnsupportedDimensionError, match=r"matryoshka.*truncate_locally=True"):
            face.documents(embeddings, [f"text {n}" for n in range(1000)])

        assert len(running.requests) <= 4


@pytest.mark.parametrize("server", ["vllm", "lm-studio"])
@one_face_a_package
def test_rows_are_cut_and_scaled_here_where_the_server_does_not(face, server):
    with playing(server) as running:
        whole = face.documents(own(face, running), ["The wind rises."])[0]
        cut = face.documents(
            own(face, running, dimension=256, truncate_locally=True), ["The wind rises."]
        )[0]

    norm = math.hypot(*whole[:256])
    assert cut == pytest.approx([value / norm for value in whole[:256]], abs=1e-6)


@one_face_a_package
def test_a_server_that_cuts_gives_what_is_cut_here(face):
    with playing("vllm-matryoshka") as running:
        there = face.documents(own(face, running, dimension=256), TEXTS)
        here = face.documents(own(face, running, dimension=256, truncate_locally=True), TEXTS)

    assert here == [pytest.approx(row, abs=1e-6) for row in there]


def test_a_server_that_ignores_dimensions_is_noticed_and_nothing_is_stored(face):
    with playing("lm-studio") as running:
        embeddings = own(face, running, dimension=256)

        with pytest.raises(
            InvalidResponseError, match=r"expected 256 dimensions, got 1024.*truncate_locally"
        ):
            face.documents(embeddings, TEXTS)


@one_face_a_package
def test_a_smaller_cap_of_a_server_is_learnt(face):
    with playing("tei") as running:
        embeddings = own(face, running, batch_size=100)

        assert len(face.documents(embeddings, [f"text {n}" for n in range(150)])) == 150
        assert len(running.requests[-1].body["input"]) <= 32


def test_a_key_that_a_server_of_ones_own_does_not_take_is_told_of(face, monkeypatch):
    monkeypatch.setenv("DASHSCOPE_API_KEY", API_KEY)
    with Emulator(backend="vllm", api_key="sk-of-mine") as running:
        with pytest.raises(AuthenticationError, match="key that this server expects"):
            face.query(own(face, running), "a")
        assert running.requests[0].api_key is None
        assert face.query(own(face, running, api_key="sk-of-mine"), "a")


def test_a_server_of_ones_own_is_sent_32_texts_a_request(vllm):
    with QwenEmbedder(model=MODEL, base_url=vllm.openai_url) as embedder:
        embedder.embed_documents([f"text {n}" for n in range(70)])

    assert sorted(len(request.body["input"]) for request in vllm.requests) == [6, 32, 32]


@pytest.mark.parametrize("seed", range(6))
def test_whatever_goes_wrong_is_one_of_our_errors_or_all_rows(vllm, seed, no_waiting):
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
