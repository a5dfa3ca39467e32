"""Streams of texts: in order, with bounded memory, nothing lost, sync and async."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from qwen_embed import (
    AuthenticationError,
    ClosedError,
    InputError,
    PartialFailureError,
    QwenEmbedder,
)
from tests.support.interfaces import API_KEY


async def gather(rows):
    return [row async for row in rows]


def embed(embedder, texts, got):
    for row in embedder.embed_stream(texts):
        got.append(row)


def aembed(embedder, texts, got):
    async def run():
        async for row in embedder.aembed_stream(texts):
            got.append(row)

    asyncio.run(run())


@pytest.fixture(params=[embed, aembed], ids=["sync", "async"])
def stream(request):
    return request.param


@pytest.fixture
def embedder(service):
    options = {"dimension": 64, "max_concurrency": 4, "batch_size": 5}
    with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, **options) as embedder:
        yield embedder


def test_a_stream_yields_the_vectors_of_a_list_in_the_same_order(stream, embedder, service):
    service.shuffle = True
    texts = [f"text {n % 90}" for n in range(137)]
    got = []

    stream(embedder, iter(texts), got)

    assert np.array_equal(np.array(got), embedder.embed_documents(texts).dense)
    assert got[0].flags.owndata


def test_only_a_window_of_texts_is_read_ahead(embedder):
    read = []

    def texts():
        for n in range(10_000):
            read.append(n)
            yield f"text {n}"

    rows = embedder.embed_stream(texts())
    for _ in range(100):
        next(rows)

    assert len(read) <= 100 + 2 * 4 * 5 + 10
    rows.close()


def test_an_async_source_is_read_as_it_comes(embedder):
    async def texts():
        for n in range(33):
            await asyncio.sleep(0)
            yield f"text {n}"

    assert len(asyncio.run(gather(embedder.aembed_stream(texts())))) == 33


@pytest.mark.parametrize("output", ["sparse", "dense&sparse"])
def test_a_stream_yields_sparse_vectors_too(stream, service, output):
    with QwenEmbedder(api_key=API_KEY, base_url=service.native_url, output=output) as embedder:
        got = []
        stream(embedder, ["the wind", "rises"], got)
        whole = embedder.embed_documents(["the wind", "rises"])

    sparse = got if output == "sparse" else [row[1] for row in got]
    assert sparse == list(whole.sparse)
    if output == "dense&sparse":
        assert np.array_equal(np.array([row[0] for row in got]), whole.dense)


def test_a_failed_text_has_a_marked_place_and_is_named_at_the_end(stream, embedder):
    texts = [f"text {n}" for n in range(63)] + ["word " * 20_000] + ["last"]
    got = []

    with pytest.raises(
        PartialFailureError, match="of the others have already been yielded"
    ) as caught:
        stream(embedder, texts, got)

    assert [failure.index for failure in caught.value.failures] == [63]
    assert len(got) == 65
    assert [n for n, row in enumerate(got) if np.isnan(row).all()] == [63]


def test_an_invalid_text_ends_the_stream_after_the_vectors_before_it(stream, embedder):
    got = []

    with pytest.raises(InputError, match=r"texts\[40\] on was sent.*texts\[43\]") as caught:
        stream(embedder, [f"text {n}" for n in range(43)] + [" ", "more"], got)

    assert caught.value.indices == (43,)
    assert len(got) == 40


def test_an_exception_of_the_source_comes_after_the_vectors_before_it(stream, embedder, service):
    def source():
        yield from (f"text {n}" for n in range(25))
        raise OSError("the file ends here")

    got = []
    with pytest.raises(OSError, match="the file ends here"):
        stream(embedder, source(), got)

    sent = sum(len(request.body["input"]["texts"]) for request in service.requests)
    assert len(got) == sent == 20  # two blocks of ten; the third was never complete


def test_a_permanent_failure_ends_the_stream(stream, service):
    got = []
    with (
        QwenEmbedder(api_key="sk-other", base_url=service.native_url) as embedder,
        pytest.raises(AuthenticationError),
    ):
        stream(embedder, [f"text {n}" for n in range(10_000)], got)

    assert got == []
    assert len(service.requests) < 50


@pytest.mark.parametrize("texts", ["one text", b"bytes", 7])
def test_a_source_without_texts_raises_an_error(stream, embedder, texts):
    with pytest.raises(InputError, match="must be an iterable of str"):
        stream(embedder, texts, [])


def test_an_empty_stream_sends_nothing(stream, embedder, service):
    got = []

    stream(embedder, iter(()), got)

    assert got == service.requests == []


def test_a_stream_that_is_closed_early_stops_its_requests(embedder, service):
    rows = embedder.embed_stream(f"text {n}" for n in range(10_000))
    next(rows)

    rows.close()
    service.clear()
    embedder.embed_query("still works")

    assert len(service.requests) <= 4 + 1


def test_a_stream_counts_in_usage_and_shows_one_bar(service, capsys):
    options = {"api_key": API_KEY, "base_url": service.native_url, "show_progress_bar": True}
    with QwenEmbedder(**options, max_concurrency=1) as embedder:
        assert len(list(embedder.embed_stream(f"text {n}" for n in range(35)))) == 35
        assert embedder.usage.texts == 35

    shown = capsys.readouterr().err
    assert shown.count("\n") == 1  # which ends a bar
    assert shown.rpartition("\r")[2].startswith("text-embedding-v4: 35text")


def test_a_closed_embedder_streams_nothing(embedder):
    embedder.close()

    with pytest.raises(ClosedError):
        embedder.embed_stream(["a"])
