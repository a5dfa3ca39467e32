"""Whether and when a request is sent again."""

from __future__ import annotations

import pytest

from qwen_embed.errors import (
    AuthenticationError,
    ConnectionFailedError,
    InvalidResponseError,
    MalformedResponseError,
    PermissionDeniedError,
    RateLimitError,
    RequestTimeoutError,
    ServerError,
    TextRejectedError,
)
from qwen_embed.pipeline.retry import Fail, Retry, RetryPolicy


def policy(random=0.5, max_retries=6):
    return RetryPolicy(max_retries, random=lambda: random)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionFailedError("x"),
        RequestTimeoutError("x"),
        MalformedResponseError("x"),
        RateLimitError("x"),
        ServerError("x"),
    ],
)
def test_what_can_heal_is_repeated(error):
    assert policy().wait(error, 1) > 0


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("x"),
        PermissionDeniedError("x"),
        TextRejectedError("x"),
        InvalidResponseError("x"),
    ],
)
def test_what_cannot_heal_is_not(error):
    assert policy().wait(error, 1) is None


def test_repeats_end():
    waits = [policy(max_retries=2).wait(ServerError("x"), failures) for failures in (1, 2, 3)]

    assert waits[0]
    assert waits[1]
    assert waits[2] is None


def test_waits_grow_up_to_a_bound():
    waits = [policy(max_retries=99).wait(ServerError("x"), failures) for failures in range(1, 20)]

    assert waits == sorted(waits)
    assert waits[0] < 1
    assert waits[-1] <= 30


def test_waits_are_spread():
    error = ServerError("x")

    assert policy(random=0.0).wait(error, 3) * 2 == pytest.approx(policy(random=1.0).wait(error, 3))


def test_retry_after_is_honoured():
    assert 9.0 <= policy().wait(RateLimitError("x", retry_after=9.0), 1) < 10.0


def test_an_account_that_serves_nothing_is_waited_for_longer_than_a_minute():
    assert policy().outlasts(75.0)
    assert not policy().outlasts(90.0)
    assert not policy(max_retries=0).outlasts(0.0)


@pytest.mark.parametrize(
    ("throttled_for", "retry_after", "max_retries", "step"),
    [
        (None, None, 0, Retry(0.0)),
        (0.0, None, 0, Fail()),
        (0.0, None, 1, Retry(0.0)),
        (14.9, None, 1, Retry(0.0)),
        (15.0, None, 1, Fail()),
        (None, 3.0, 1, Retry(3.0)),
        (None, 30.0, 1, Fail()),
    ],
)
def test_a_throttled_request_is_retried_while_the_account_serves_others(
    throttled_for, retry_after, max_retries, step
):
    policy = RetryPolicy(max_retries, random=lambda: 0.0)
    error = RateLimitError("Too fast.", status_code=429, retry_after=retry_after)

    assert policy.next_step(error, failures=0, throttled_for=throttled_for) == step
