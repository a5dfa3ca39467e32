"""Texts that are too long for the model, the same through every interface of the core."""

from __future__ import annotations

from itertools import chain, product

import numpy as np
import pytest

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import (
    EmbeddingResult,
    PartialFailureError,
    QwenEmbedder,
    TextRejectedError,
)
from qwen_embed.pipeline import long_text as long_text_module
from qwen_embed.tokenizer import load_tokenizer
from tests.support.interfaces import API_KEY, one_interface_per_package

LIMIT = 8_192
WORDS = ("the", "wind", "will", "rise", "over", "cold", "hill", "and", "sea")
LONG = " ".join(chain.from_iterable(product(WORDS, repeat=4)))
"""26,244 tokens, without long repetitions."""


def chunks_of(text, limit=LIMIT):
    """Return a text's chunks and their tokens."""
    return zip(*load_tokenizer().split(text, limit), strict=True)


def sent(service, status=200):
    return [
        text
        for request in service.requests
        if request.status == status
        for text in request.body["input"]["texts"]
    ]


def unit_mean(rows, weights):
    mean = np.average(rows, axis=0, weights=weights)
    return mean / np.linalg.norm(mean)


def as_lists(result):
    return list(result.dense if isinstance(result, EmbeddingResult) else result)


def test_the_first_tokens_are_sent(interface, service):
    chunks, tokens = chunks_of(LONG)
    assert tokens[0] == LIMIT

    [row, short] = interface.documents(interface(service, long_text="truncate"), [LONG, "short"])

    [request] = service.requests
    assert request.body == {
        "model": "text-embedding-v4",
        "input": {"texts": [chunks[0], "short"]},
        "parameters": {"text_type": "document"},
    }
    assert [row, short] == interface.documents(interface(service), [chunks[0], "short"])


@one_interface_per_package
def test_all_chunks_are_sent_and_averaged_into_one_vector(interface, service):
    chunks, tokens = chunks_of(LONG)

    [short, row] = interface.documents(interface(service, long_text="average"), ["short", LONG])

    [request] = service.requests
    assert request.body == {
        "model": "text-embedding-v4",
        "input": {"texts": ["short", *chunks]},
        "parameters": {"text_type": "document"},
    }
    [same, *rows] = interface.documents(interface(service), ["short", *chunks])
    assert short == same
    assert np.allclose(row, unit_mean(rows, tokens), atol=1e-6)


def test_a_long_query_is_sent_as_a_query(interface, service):
    options = {"long_text": "average", "instruct": "Find the wind", "dimension": 64}

    row = interface.query(interface(service, **options), LONG)

    [request] = service.requests
    assert request.body["parameters"] == {
        "text_type": "query",
        "instruct": "Find the wind",
        "dimension": 64,
    }
    assert np.linalg.norm(row) == pytest.approx(1)


@pytest.mark.parametrize("long_text", ["truncate", "average"])
@one_interface_per_package
def test_a_long_text_given_twice_is_sent_once(interface, service, long_text):
    embeddings = interface(service, long_text=long_text)

    rows = interface.documents(embeddings, [LONG, "short", LONG])

    assert rows[0] == rows[2] != rows[1]
    assert len(sent(service)) == len(set(sent(service)))
    assert embeddings.usage.texts == 3


@pytest.mark.parametrize("long_text", ["error", "truncate", "average"])
def test_texts_that_fit_by_their_bytes_are_not_counted(interface, service, monkeypatch, long_text):
    monkeypatch.setattr(long_text_module, "load_tokenizer", lambda: pytest.fail("loaded"))

    interface.documents(interface(service, long_text=long_text), ["a" * LIMIT, "风" * (LIMIT // 3)])


@one_interface_per_package
def test_a_truncated_text_that_is_still_too_long_is_shortened(interface, service):
    service.set_model("text-embedding-v4", tokens_per_text=6_000)

    rows = interface.documents(interface(service, long_text="truncate"), ["short", LONG, "other"])

    [answered] = {text for text in sent(service) if LONG.startswith(text)}
    assert load_tokenizer().count(answered) == 5_970  # after the third cut by a tenth
    assert len(set(sent(service))) == len(sent(service)) == 3
    assert rows == interface.documents(interface(service), ["short", answered, "other"])


@one_interface_per_package
def test_a_chunk_that_is_still_too_long_is_split_in_two(interface, service):
    service.set_model("text-embedding-v4", tokens_per_text=6_000)
    texts = ["short", LONG, "other"]

    rows = interface.documents(interface(service, long_text="average"), texts)

    chunks = sorted((text for text in sent(service) if text in LONG and text), key=LONG.find)
    tokens = [load_tokenizer().count(chunk) for chunk in chunks]
    assert "".join(chunks) == LONG
    assert max(tokens) == LIMIT // 2
    assert len(sent(service)) == len(chunks) + 2
    expected = unit_mean(interface.documents(interface(service), chunks), tokens)
    assert np.allclose(rows[1], expected, atol=1e-6)


@pytest.mark.parametrize("long_text", ["truncate", "average"])
@one_interface_per_package
def test_a_text_fails_alone_if_one_of_its_chunks_fails(interface, service, long_text):
    service.set_model("text-embedding-v4", tokens_per_text=1_000)
    texts = [f"text {n}" for n in range(15)] + [LONG, "last"]

    with pytest.raises(PartialFailureError) as caught:
        interface.documents(interface(service, long_text=long_text), texts)

    [failure] = caught.value.failures
    assert failure.index == 15
    assert failure.text == LONG[:80]
    assert isinstance(failure.error, TextRejectedError)
    rows = as_lists(caught.value.result)
    assert [n for n, row in enumerate(rows) if row is None or np.isnan(row).all()] == [15]


@one_interface_per_package
def test_a_rejected_parameter_does_not_shorten_every_text(interface, service):
    service.fail_next(5000, status=400, code="InvalidParameter", message="no such parameter")
    texts = [f"{n} {LONG[:40_000]}" for n in range(20)]
    embeddings = interface(
        service, long_text="truncate", max_concurrency=1, requests_per_minute=600_000
    )

    with pytest.raises(TextRejectedError, match="no such parameter"):
        interface.documents(embeddings, texts)

    assert len(service.requests) < 40


def test_texts_are_sent_whole_if_the_models_limit_is_unknown(interface, service):
    service.set_model(
        "text-embedding-v9", dimensions=(64,), default_dimension=64, tokens_per_text=100_000
    )

    interface.documents(interface(service, model="text-embedding-v9", long_text="truncate"), [LONG])

    assert sent(service) == [LONG]


@one_interface_per_package
def test_a_progress_bar_counts_what_is_sent(interface, service, capsys):
    service.set_model("text-embedding-v4", tokens_per_text=6_000)
    chunks, _ = chunks_of(LONG)
    embeddings = interface(service, long_text="average", show_progress_bar=True)

    interface.documents(embeddings, ["short", LONG])

    assert f"{1 + len(chunks)}/{1 + len(chunks)}" in capsys.readouterr().err


@pytest.mark.parametrize("kind", [QwenEmbeddings, QwenEmbedding])
@pytest.mark.parametrize("long_text", ["truncate", "average"])
def test_a_pair_shares_the_requests_of_long_texts(service, kind, long_text):
    dense = kind(api_key=API_KEY, base_url=service.native_url, long_text=long_text)
    sparse = dense.sparse()
    with QwenEmbedder(
        api_key=API_KEY, base_url=service.native_url, long_text=long_text, output="dense&sparse"
    ) as core:
        expected = core.embed_documents(["short", LONG])
    service.clear()

    rows = dense._rows(["short", LONG], "document")
    vectors = sparse._sparse(["short", LONG], "document")

    assert len(service.requests) == 1
    assert np.allclose(rows, expected.dense, atol=1e-6)
    assert vectors.rows() == expected.sparse.rows()


def test_a_sparse_vector_has_the_largest_value_of_any_chunk(service):
    options = {"api_key": API_KEY, "base_url": service.native_url, "output": "sparse"}
    chunks, _ = chunks_of(LONG + "storm " * 5)
    with QwenEmbedder(**options) as embedder:
        rows = embedder.embed_documents(chunks).sparse.rows()
    with QwenEmbedder(**options, long_text="average") as embedder:
        [row] = embedder.embed_documents([LONG + "storm " * 5]).sparse.rows()

    assert row.keys() == set().union(*rows)
    assert row == {index: max(chunk.get(index, 0) for chunk in rows) for index in row}


@pytest.mark.parametrize("long_text", ["truncate", "average"])
def test_a_stream_yields_one_vector_per_text(service, long_text):
    options = {"api_key": API_KEY, "base_url": service.native_url, "long_text": long_text}
    texts = [f"text {n}" for n in range(30)]
    texts[17] = LONG
    with QwenEmbedder(**options, max_concurrency=2, batch_size=4) as embedder:
        rows = list(embedder.embed_stream(texts))

        assert np.array_equal(np.array(rows), embedder.embed_documents(texts).dense)
        assert embedder.usage.texts == 60
