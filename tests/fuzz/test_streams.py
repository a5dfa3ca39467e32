"""Streams under random use: the right row for each text, in order, and what failed at the end."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen_embed import InputError, PartialFailureError, QwenEmbedder, QwenEmbedError, RequestError
from qwen_embed.sparse import SparseRow
from tests.support.embedding_calls import CALLS, Made, agree
from tests.support.fingerprint_service import FingerprintService
from tests.support.watchdog import watched

few_examples = settings(max_examples=settings.default.max_examples // 6)

REJECTED = ("rejected", "rejected too")
INVALID = ("", None)


class SourceError(Exception):
    """What a generator of texts raises."""


@dataclass(frozen=True)
class Source:
    """Texts to stream.

    Attributes:
        texts: The texts.
        raises_at: The place at which the generator raises, or `None`.
        is_async: Whether it is an async generator.
    """

    texts: list[Any]
    raises_at: int | None = None
    is_async: bool = False

    def __iter__(self) -> Iterator[str]:
        for index, text in enumerate(self.texts):
            if index == self.raises_at:
                raise SourceError
            yield text

    async def arun(self) -> AsyncIterator[str]:
        for text in self:
            await asyncio.sleep(0)
            yield text

    @property
    def raises(self) -> bool:
        return self.raises_at is not None and self.raises_at < len(self.texts)


@dataclass(frozen=True)
class Streamed:
    """What a stream came to."""

    rows: list[Any]
    error: BaseException | None


valid = st.sampled_from(["the cat", "the dog"]) | st.integers(0, 30).map("text {}".format)
texts = st.lists(valid | st.sampled_from(REJECTED), min_size=1, max_size=40)
outputs = st.sampled_from(["dense", "sparse", "dense&sparse"])
# A block has as many texts as half of the requests that may be in flight.
blocks = st.fixed_dictionaries(
    {"batch_size": st.integers(1, 6), "max_concurrency": st.sampled_from([1, 2, 4])}
)
ways = st.sampled_from(["sync", "async"])


@pytest.fixture
def service() -> Iterator[FingerprintService]:
    with FingerprintService() as service:
        service.rejected.update(REJECTED)
        yield service


def embedder(service: FingerprintService, output: str, blocks: dict[str, int]) -> Made:
    options = {"dimension": 64, "max_retries": 1, "output": output, **blocks}
    address = {"api_key": service.api_key, "base_url": service.native_url}
    return Made(QwenEmbedder(**address, **options), options)


def stream(one: Made, source: Source, way: str, *, at_most: int | None = None) -> Streamed:
    """Read a stream to its end, or leave it after so many rows."""
    rows: list[Any] = []

    def read() -> None:
        with closing(one.it.embed_stream(source)) as stream:
            for row in stream:
                rows.append(row)
                if len(rows) == at_most:
                    return

    async def aread() -> None:
        given: Any = source.arun() if source.is_async else source
        async with aclosing(one.it.aembed_stream(given)) as stream:
            async for row in stream:
                rows.append(row)
                if len(rows) == at_most:
                    return

    try:
        watched(read if way == "sync" else lambda: asyncio.run(aread()))
    except (QwenEmbedError, SourceError) as error:
        return Streamed(rows, error)
    return Streamed(rows, None)


def marked(one: Made, texts: Iterable[str], rows: list[Any]) -> set[int]:
    """Check that each row is that of its text, or marked as failed; return which are marked."""
    output = one.options["output"]
    call = replace(CALLS[QwenEmbedder][0], output=output)
    found = set()
    for index, (text, row) in enumerate(zip(texts, rows, strict=False)):
        if is_marked(row):
            found.add(index)
        else:
            assert agree(plain(row), one.expected(call, text)), f"row {index} is another text's"
    return found


def plain(row: Any) -> Any:
    if isinstance(row, tuple):
        return tuple(map(plain, row))
    if isinstance(row, SparseRow):
        return dict(zip(row.indices, row.values, strict=True))
    return row.tolist()


def is_marked(row: Any) -> bool:
    if isinstance(row, tuple):
        dense, sparse = map(is_marked, row)
        assert dense == sparse
        return dense
    return not row.indices if isinstance(row, SparseRow) else math.isnan(row[0])


@few_examples
@given(texts=texts, output=outputs, blocks=blocks, way=ways, is_async=st.booleans())
def test_every_text_has_its_row_and_failures_come_last(
    service: FingerprintService,
    texts: list[str],
    output: str,
    blocks: dict[str, int],
    way: str,
    is_async: bool,
) -> None:
    rejected = {index for index, text in enumerate(texts) if text in REJECTED}
    with (one := embedder(service, output, blocks)).it:
        came = stream(one, Source(texts, is_async=is_async), way)
    assert len(came.rows) == len(texts)
    assert marked(one, texts, came.rows) == rejected
    if len(texts) == 1 and rejected:
        assert isinstance(came.error, RequestError)
    elif rejected:
        assert isinstance(came.error, PartialFailureError)
        assert [failure.index for failure in came.error.failures] == sorted(rejected)
        assert all(texts[failure.index] == failure.text for failure in came.error.failures)
    else:
        assert came.error is None


@few_examples
@given(
    texts=st.lists(valid | st.sampled_from(INVALID), min_size=1, max_size=40),
    output=outputs,
    blocks=blocks,
    way=ways,
)
def test_an_invalid_text_is_told_of_after_the_blocks_before_it(
    service: FingerprintService,
    texts: list[Any],
    output: str,
    blocks: dict[str, int],
    way: str,
) -> None:
    with (one := embedder(service, output, blocks)).it:
        came = stream(one, Source(texts), way)
    invalid = [index for index, text in enumerate(texts) if text in INVALID]
    assert not marked(one, texts, came.rows)
    if not invalid:
        assert came.error is None
        assert len(came.rows) == len(texts)
        return
    assert isinstance(came.error, InputError)
    told = list(came.error.indices)
    assert told == invalid[: len(told)]
    assert told
    assert len(came.rows) <= told[0]
    assert not service.times_paid("")


@few_examples
@given(source=st.builds(Source, texts, st.integers(0, 40), st.booleans()), blocks=blocks, way=ways)
def test_what_the_texts_raise_comes_through(
    service: FingerprintService, source: Source, blocks: dict[str, int], way: str
) -> None:
    with (one := embedder(service, "dense", blocks)).it:
        came = stream(one, source, way)
        assert isinstance(came.error, SourceError) or not source.raises
        failed = marked(one, source.texts, came.rows)
        assert all(source.texts[index] in REJECTED for index in failed)
        assert not marked(one, ["the cat"], stream(one, Source(["the cat"]), way).rows)


@few_examples
@given(
    texts=texts,
    output=outputs,
    blocks=blocks,
    way=ways,
    faults=st.lists(st.sampled_from([500, 403, None, 200]), max_size=6),
)
def test_failing_requests_mark_rows_and_change_none(
    service: FingerprintService,
    texts: list[str],
    output: str,
    blocks: dict[str, int],
    way: str,
    faults: list[int | None],
) -> None:
    for fault in faults:
        service.drop_next() if fault is None else service.fail_next(fault)
    with (one := embedder(service, output, blocks)).it:
        came = stream(one, Source(texts), way)
    service.heal()
    failed = marked(one, texts, came.rows)
    rejected = {index for index, text in enumerate(texts) if text in REJECTED}
    assert came.error is None or isinstance(came.error, (PartialFailureError, RequestError))
    if isinstance(came.error, PartialFailureError):
        assert {failure.index for failure in came.error.failures} == failed >= rejected
        assert len(came.rows) == len(texts)
    elif came.error is None:
        assert not failed
        assert len(came.rows) == len(texts)


@few_examples
@given(texts=texts, output=outputs, blocks=blocks, way=ways, at_most=st.integers(1, 40))
def test_a_stream_may_be_left_at_any_row(
    service: FingerprintService,
    texts: list[str],
    output: str,
    blocks: dict[str, int],
    way: str,
    at_most: int,
) -> None:
    with (one := embedder(service, output, blocks)).it:
        came = stream(one, Source(texts), way, at_most=at_most)
        assert len(came.rows) == min(at_most, len(texts))
        failed = marked(one, texts, came.rows)
        assert all(texts[index] in REJECTED for index in failed)
        assert not marked(one, ["the dog"], stream(one, Source(["the dog"]), way).rows)
    assert service.wait_until_left(), "a connection is open after close()"


@few_examples
@given(texts=texts, blocks=blocks, ticks=st.integers(0, 60), is_async=st.booleans())
def test_a_cancelled_stream_gives_no_wrong_row(
    service: FingerprintService,
    texts: list[str],
    blocks: dict[str, int],
    ticks: int,
    is_async: bool,
) -> None:
    rows: list[Any] = []
    source = Source(texts, is_async=is_async)
    one = embedder(service, "dense", blocks)

    async def read() -> None:
        stream = one.it.aembed_stream(source.arun() if is_async else source)
        async for row in stream:
            rows.append(row)  # noqa: PERF401 -- those before the cancel count too

    async def cancelled() -> None:
        task = asyncio.ensure_future(read())
        for _ in range(ticks):
            await asyncio.sleep(0)
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        expected = (type(None), asyncio.CancelledError, PartialFailureError, RequestError)
        assert isinstance(outcome, expected), outcome

    with one.it:
        watched(lambda: asyncio.run(cancelled()))
        failed = marked(one, texts, rows)
        assert all(texts[index] in REJECTED for index in failed)
        assert not marked(one, ["the dog"], stream(one, Source(["the dog"]), "sync").rows)
    assert service.wait_until_left(), "a connection is open after close()"
