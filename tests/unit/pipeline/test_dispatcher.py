"""The path from texts to rows over a transport that the tests script, with no time passing."""

from __future__ import annotations

import asyncio
import json

import pytest

from qwen_embed.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
)
from qwen_embed.pipeline.call import Call
from qwen_embed.pipeline.collectors import ListCollector
from qwen_embed.pipeline.dispatcher import Dispatcher
from qwen_embed.pipeline.plan import Plan
from qwen_embed.pipeline.retry import RetryPolicy
from qwen_embed.protocols.base import MAX_BODY_BYTES, Parameters
from qwen_embed.protocols.native import NATIVE
from qwen_embed.rate_limit.account import Account
from qwen_embed.rate_limit.limiter import Limiter, SharedLimiter
from qwen_embed.transports.base import Response


class Service:
    """Answers `[length of the text]` for each text, unless `refuse` says otherwise."""

    def __init__(self):
        self.sent = []
        self.cancelled = 0
        self.refuse = lambda texts, number: None

    async def post(self, path, body):
        texts = json.loads(body)["input"]["texts"]
        self.sent.append(texts)
        refusal = self.refuse(texts, len(self.sent))
        try:
            await asyncio.sleep(0)
            if refusal == "hang":
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(refusal, Exception):
            raise refusal
        if isinstance(refusal, tuple):
            status, code = refusal
            return Response(status, {}, json.dumps({"code": code, "message": "no"}).encode())
        rows = [
            {"text_index": index, "embedding": [float(len(text))]}
            for index, text in enumerate(texts)
        ]
        body = {"output": {"embeddings": rows}, "usage": {"total_tokens": len(texts)}}
        return Response(200, {}, json.dumps(body).encode())

    async def aclose(self):
        pass


class Instant:
    """A clock that jumps to whatever is waited for."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def call_later(self, seconds, call):
        return asyncio.get_running_loop().call_soon(self.jump, self.now + seconds, call)

    def jump(self, to, call):
        self.now = max(self.now, to)
        call()

    async def sleep(self, seconds):
        self.now += seconds
        await asyncio.sleep(0)


def dispatcher(service, *, batch_size=2, max_concurrency=4, max_retries=2):
    time = Instant()
    shared = SharedLimiter(Account(), clock=time, call_later=time.call_later)
    return Dispatcher(
        codec=NATIVE,
        transport=service,
        limiter=Limiter(shared, max_concurrency=max_concurrency),
        retry=RetryPolicy(max_retries, random=lambda: 0.0),
        sleep=time.sleep,
        hint_for=lambda error: None,
        batch_size=batch_size,
        max_concurrency=max_concurrency,
        max_request_tokens=None,
    )


def call(texts):
    return Call(texts, Parameters("m", "document"), ListCollector(len(texts), False))


def rows(call):
    gathered = call.collector.result(Plan(call.texts, None, len(call.texts)), None)
    return [row and row[0] for row in gathered]


@pytest.fixture
def service():
    return Service()


TEXTS = ["x" * n for n in range(1, 10)]


async def test_rows_come_in_the_order_of_the_texts(service):
    done = call(TEXTS)

    await dispatcher(service).dispatch(done)

    assert rows(done) == [float(n) for n in range(1, 10)]
    assert (done.usage.requests, done.usage.retries, done.usage.tokens) == (5, 0, 9)


async def test_progress_is_told_in_texts(service):
    done = call(TEXTS)
    told = []
    done.progress = told.append

    await dispatcher(service).dispatch(done)

    assert sorted(told) == [1, 2, 2, 2, 2]


async def test_only_the_failed_request_is_repeated(service):
    service.refuse = lambda texts, number: (500, "InternalError") if number == 2 else None
    done = call(TEXTS)

    await dispatcher(service).dispatch(done)

    assert rows(done) == [float(n) for n in range(1, 10)]
    assert len(service.sent) == 6
    assert done.usage.retries == 1


async def test_what_no_retry_heals_cancels_what_is_in_flight(service):
    service.refuse = lambda texts, number: (400, "Arrearage") if number == 3 else "hang"

    with pytest.raises(PermissionDeniedError):
        await dispatcher(service).dispatch(call(TEXTS))

    assert len(service.sent) == 3
    assert service.cancelled == 2


async def test_what_no_retry_heals_ends_every_call_and_keeps_what_they_have(service):
    service.refuse = lambda texts, number: (401, "InvalidApiKey") if number > 3 else None
    shared = dispatcher(service, max_concurrency=1)
    calls = [call([f"{n}{letter}" for letter in "abcdef"]) for n in range(5)]

    ended = await asyncio.gather(*map(shared.dispatch, calls), return_exceptions=True)

    errors = [error for error in ended if error is not None]
    assert {type(error) for error in errors} == {AuthenticationError}
    assert len({id(error) for error in errors}) == len(errors) >= 4
    assert len(service.sent) == 4
    assert sum(row is not None for done in calls for row in rows(done)) == 3 * 2


async def test_a_throttled_request_waits_its_turn_as_long_as_others_are_served(service):
    refusals = iter(range(20))

    def refuse(texts, number):
        if texts == ["xxx", "xxxx"] and next(refusals, None) is not None:
            return (429, "Throttling.RateQuota")
        return None

    service.refuse = refuse
    done = call(["x" * n for n in range(1, 300)])

    await dispatcher(service, max_retries=1).dispatch(done)

    assert None not in rows(done)
    assert done.failures == {}


async def test_a_request_that_fails_for_good_while_others_are_served_fails_alone(service):
    service.refuse = lambda texts, number: (500, "InternalError") if "xxx" in texts else None
    done = call(["x" * n for n in range(1, 60)])

    await dispatcher(service).dispatch(done)

    assert set(done.failures) == {2, 3}
    assert isinstance(done.failures[2], ServerError)
    assert rows(done).count(None) == 2


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ((503, "ServiceUnavailable"), ServerError),
        ((429, "Throttling"), RateLimitError),
        (ConnectionFailedError("gone"), ConnectionFailedError),
    ],
)
async def test_a_service_gone_in_the_middle_ends_the_call_and_keeps_the_rows(
    service, refusal, error
):
    service.refuse = lambda texts, number: refusal if number > 3 else None
    done = call(["x" * n for n in range(1, 1000)])

    with pytest.raises(error):
        await dispatcher(service).dispatch(done)

    assert sum(row is not None for row in rows(done)) == 6
    assert len(service.sent) < 30


async def test_an_answer_of_another_dimension_than_before_is_refused(service):
    asked = dispatcher(service)
    await asked.dispatch(call(["a"]))

    async def two_numbers(path, body):
        answer = {"output": {"embeddings": [{"text_index": 0, "embedding": [1.0, 2.0]}]}}
        return Response(200, {}, json.dumps(answer).encode())

    service.post = two_numbers
    with pytest.raises(InvalidResponseError, match="expected 1 dimensions, got 2"):
        await asked.dispatch(call(["b"]))


async def test_a_body_above_what_the_service_takes_is_halved_before_it_is_sent(service):
    half = "x" * (MAX_BODY_BYTES // 2)
    done = call([half + "a", half + "b"])

    await dispatcher(service).dispatch(done)

    assert [len(texts) for texts in service.sent] == [1, 1]
    assert None not in rows(done)


async def test_a_cap_without_a_number_is_found_by_halving(service):
    async def refuse_more_than_two(path, body, answer=service.post):
        if len(json.loads(body)["input"]["texts"]) > 2:
            message = {"code": "InvalidParameter", "message": "batch size is invalid"}
            return Response(400, {}, json.dumps(message).encode())
        return await answer(path, body)

    service.post = refuse_more_than_two
    done = call(TEXTS)

    await dispatcher(service, batch_size=9).dispatch(done)

    assert rows(done) == [float(n) for n in range(1, 10)]


async def test_a_refused_text_is_isolated_without_asking_again_for_the_others(service):
    service.refuse = lambda texts, number: (
        (400, "DataInspectionFailed") if "xxxxx" in texts else None
    )
    done = call(TEXTS)

    await dispatcher(service, batch_size=8).dispatch(done)

    assert set(done.failures) == {4}
    served = [text for texts in service.sent if "xxxxx" not in texts for text in texts]
    assert sorted(served) == sorted(set(TEXTS) - {"xxxxx"})
    assert len(service.sent) == 2 + 2 * 3  # each halving of 8 costs two requests


@pytest.mark.parametrize(("seconds", "sent"), [("1", 3), ("3600", 1)])
async def test_retry_after_is_waited_for_unless_it_is_longer_than_anybody_waits(
    service, seconds, sent
):
    async def throttle_twice(path, body, answer=service.post):
        if len(service.sent) < 2:
            service.sent.append(json.loads(body))
            return Response(429, {"Retry-After": seconds}, b'{"code": "Throttling"}')
        return await answer(path, body)

    service.post = throttle_twice
    asked = dispatcher(service)
    done = call(["a"])

    if sent == 1:
        with pytest.raises(RateLimitError):
            await asked.dispatch(done)
    else:
        await asked.dispatch(done)
    assert len(service.sent) == sent
