"""A dense and a sparse object that share requests: no wrong vector, and nothing paid for twice."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import (
    ClosedError,
    PartialFailureError,
    QwenEmbedder,
    RequestTimeoutError,
)
from qwen_embed.emulator import Emulator
from tests.support.held_engine import HeldEngine
from tests.support.interfaces import API_KEY

TEXTS = [f"text {n}" for n in range(100)]


@dataclass(frozen=True)
class PairOf:
    """The pair of one package: how it is made, and how its two objects embed."""

    make: Callable[..., Any]
    dense_documents: Callable[[Any, list[str]], Any]
    dense_query: Callable[[Any, str], list[float]]
    sparse_documents: Callable[[Any, list[str]], Any]
    sparse_query: Callable[[Any, str], Any]


PAIRS = {
    "langchain": PairOf(
        QwenEmbeddings,
        lambda dense, texts: dense.embed_documents(texts),
        lambda dense, text: dense.embed_query(text),
        lambda sparse, texts: sparse.embed_documents(texts),
        lambda sparse, text: sparse.embed_query(text),
    ),
    "llamaindex": PairOf(
        QwenEmbedding,
        lambda dense, texts: dense.get_text_embedding_batch(texts),
        lambda dense, text: dense.get_query_embedding(text),
        lambda sparse, texts: sparse.encode_documents(texts),
        lambda sparse, text: sparse.get_query_embedding(text),
    ),
}


@pytest.fixture(params=PAIRS.values(), ids=PAIRS.keys())
def pair_of(request):
    return request.param


def options(service, **more):
    return {"api_key": API_KEY, "base_url": service.native_url, **more}


def sent(service):
    return [text for request in service.requests for text in request.body["input"]["texts"]]


@pytest.mark.parametrize(
    "first",
    [
        lambda pair_of, sparse: pair_of.sparse_query(sparse, "q"),
        lambda pair_of, sparse: sparse.limits,
        lambda pair_of, sparse: sparse.explain_match("a", "b"),
        lambda pair_of, sparse: pair_of.sparse_documents(sparse, []),
    ],
    ids=["a query", "limits", "explain_match", "no documents"],
)
def test_dense_vectors_follow_their_own_options_whatever_the_sparse_object_does_first(
    service, pair_of, first
):
    dense = pair_of.make(**options(service, dimension=64, normalize=True))
    sparse = dense.sparse()

    first(pair_of, sparse)
    vector = pair_of.dense_query(dense, "q")

    assert len(vector) == 64
    assert np.linalg.norm(vector) == pytest.approx(1.0)
    assert {request.body["parameters"].get("dimension") for request in service.requests} == {64}


@pytest.mark.parametrize(
    "copied",
    [
        lambda made: made.copy(update={"dimension": 128}),
        lambda made: made.model_copy(update={"dimension": 128}),
    ],
    ids=["copy", "model_copy"],
)
@pytest.mark.parametrize("kind", [QwenEmbedder, QwenEmbeddings, QwenEmbedding])
def test_a_copy_shares_nothing_with_the_original(service, kind, copied):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # pydantic's, of its old name
        original = kind(**options(service, dimension=64))
        assert original.explain_match("a", "a")
        copy = copied(original)

        copy.explain_match("a", "a")
        copy.close()

    assert copy.dimension == 128
    assert original.explain_match("a", "a")  # still open
    dimensions = [request.body["parameters"]["dimension"] for request in service.requests]
    assert dimensions == [64, 64, 128, 128, 64, 64]


def test_a_copy_without_some_options_raises_an_error(service):
    embedder = QwenEmbedder(**options(service, dimension=64))

    with pytest.raises(TypeError, match="model_copy"):
        embedder.copy(exclude={"dimension"})


def bare_vector(service, text):
    sparse = QwenEmbedding(**options(service)).sparse()
    return sparse.encode_documents([text])


@pytest.mark.parametrize(
    "embedded",
    [
        ["k: 1\n\nthe cat", "the cat"],
        ["the cat", "k: 1\n\nthe cat", "the cat"],
        ["k: 1\n\nthe cat", "k: 2\n\nthe cat"],
    ],
    ids=["a bare text behind it", "bare texts around it", "other metadata"],
)
def test_nodes_with_the_same_text_get_the_vector_of_the_bare_text(service, embedded):
    dense = QwenEmbedding(**options(service))
    nodes = dense.sparse()
    dense.get_text_embedding_batch(embedded)

    vectors = [nodes.node_rows(["the cat"])[0] for _ in embedded]

    [indices], [values] = bare_vector(service, "the cat")
    assert vectors == [dict(zip(indices, values, strict=True))] * len(embedded)


def test_nodes_with_the_same_text_are_distinguished_if_they_came_in_different_calls(service):
    dense = QwenEmbedding(**options(service))
    nodes = dense.sparse()
    dense.get_text_embedding("k: 1\n\nthe cat")
    dense.get_text_embedding("the cat")

    vectors = [nodes.node_rows(["the cat"])[0] for _ in range(2)]

    [indices], [values] = bare_vector(service, "the cat")
    assert vectors == [dict(zip(indices, values, strict=True))] * 2


def test_kept_vectors_stay_available_after_a_call_with_a_rejected_text(service, pair_of):
    dense = pair_of.make(**options(service))
    sparse = dense.sparse()
    pair_of.dense_documents(dense, TEXTS)
    service.clear()

    for _ in range(2):
        with pytest.raises(PartialFailureError):
            pair_of.sparse_documents(sparse, [*TEXTS, "word " * 10_000])
    pair_of.sparse_documents(sparse, TEXTS)

    assert {len(text) for text in sent(service)} == {50_000}


def test_kept_vectors_stay_available_after_a_call_that_times_out(pair_of):
    engine = HeldEngine()
    engine.let_go()
    with Emulator(engine=engine, api_key=API_KEY) as service:
        service.set_model("text-embedding-v4", dimensions={8}, default_dimension=8)
        dense = pair_of.make(**options(service, total_timeout=1.0))
        sparse = dense.sparse()
        pair_of.dense_documents(dense, TEXTS)
        service.clear()
        engine.hold()

        with pytest.raises(RequestTimeoutError):
            pair_of.sparse_documents(sparse, [*TEXTS, "one more"])
        engine.let_go()
        pair_of.sparse_documents(sparse, TEXTS)

        assert sent(service) == ["one more"]
        dense.close()


async def test_kept_vectors_stay_available_after_a_call_that_is_cancelled():
    engine = HeldEngine()
    engine.let_go()
    with Emulator(engine=engine, api_key=API_KEY) as service:
        service.set_model("text-embedding-v4", dimensions={8}, default_dimension=8)
        dense = QwenEmbeddings(**options(service))
        sparse = dense.sparse()
        await dense.aembed_documents(TEXTS)
        service.clear()
        engine.hold()

        call = asyncio.ensure_future(sparse.aembed_documents([*TEXTS, "one more"]))
        while not service.requests:
            await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        engine.let_go()
        await sparse.aembed_documents(TEXTS)

        assert sent(service) == ["one more"]
        await dense.aclose()


def test_closing_one_of_a_pair_closes_both(service, pair_of):
    dense = pair_of.make(**options(service))
    sparse = dense.sparse()
    pair_of.sparse_query(sparse, "q")

    sparse.close()

    with pytest.raises(ClosedError):
        pair_of.dense_query(dense, "q")
