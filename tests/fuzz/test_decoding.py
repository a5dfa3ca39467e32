"""Answers of any bytes: every way to read them does as a slow and strict reader does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen_embed.errors import InvalidResponseError, MalformedResponseError, ServiceError
from qwen_embed.protocols import decoding, native, openai
from qwen_embed.protocols.errors import parse_error
from tests.fuzz.odd_answers import HEADERS, bodies, refusals
from tests.fuzz.strict_reader import (
    NoAnswerError,
    NotWholeError,
    Read,
    RefusedError,
    strict_compatible,
    strict_native,
)

pytestmark = pytest.mark.filterwarnings("error")

# Bodies of thousands of levels take a while to make.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

ROWS = st.integers(1, 3)
WAYS = ["lists", "arrays", "arrays without simdjson"]


def outcome(reader: Callable[..., Any], *given: Any, **asked: Any) -> Any:
    try:
        return reader(*given, **asked)
    except (NotWholeError, MalformedResponseError):
        return "malformed"
    except (NoAnswerError, InvalidResponseError):
        return "invalid"
    except (RefusedError, ServiceError):
        return "refused"


def read(parse: Callable[..., Any], body: bytes, way: str, **expected: Any) -> Read:
    installed = None if way == "arrays without simdjson" else decoding.simdjson
    with mock.patch.object(decoding, "simdjson", installed):
        answer = parse(body, arrays=way != "lists", **expected)
    if way == "lists":
        assert all(type(row) is list for row in answer.dense)
    dense = [row if isinstance(row, list) else row.tolist() for row in answer.dense]
    assert all(type(value) is float for row in dense for value in row)
    assert all(len(row.tokens) == len(row.indices) for row in answer.sparse)
    sparse = [list(zip(row.indices, row.values, strict=True)) for row in answer.sparse]
    return Read(answer.tokens, answer.request_id, dense, sparse)


def accepted(expected: Any, body: bytes) -> list[Any]:
    """Return the outcomes that will do: of a body too deep to tell, either error."""
    deep = expected in ("malformed", "invalid") and body.count(b"[") + body.count(b"{") > 500
    return ["malformed", "invalid"] if deep else [expected]


@unhurried
@given(
    st.data(),
    ROWS,
    st.sampled_from([None, 2]),
    st.sampled_from(["dense", "sparse", "dense&sparse"]),
)
def test_a_native_answer_is_read_alike_in_every_way(data, count, dimension, output):
    body = data.draw(bodies("native", count))

    asked = {"count": count, "dimension": dimension, "output": output}

    expected = outcome(strict_native, body, **asked)
    for way in WAYS:
        found = outcome(read, native.parse_response, body, way, **asked)
        assert found in accepted(expected, body), way


@unhurried
@given(st.data(), ROWS, st.sampled_from([None, 2]), st.booleans())
def test_a_compatible_answer_is_read_alike_in_every_way(data, count, dimension, cut):
    body = data.draw(bodies("compatible", count))
    asked = {"count": count, "dimension": dimension, "truncate": cut}

    expected = outcome(strict_compatible, body, **asked)
    for way in WAYS:
        found = outcome(read, openai.parse_response, body, way, **asked)
        if cut and isinstance(expected, Read) and isinstance(found, Read):
            for row, due in zip(found.dense, expected.dense, strict=True):
                assert row == pytest.approx(due, rel=1e-9, abs=1e-15), way
            found = replace(found, dense=expected.dense)
        assert found in accepted(expected, body), way


@unhurried
@given(
    st.one_of(st.integers(100, 599), st.integers(), st.sampled_from([200, 302, 400, 429, 500])),
    HEADERS,
    st.one_of(refusals(), st.binary(max_size=20), bodies("native", 1)),
)
def test_a_refusal_of_any_status_headers_and_bytes_is_a_typed_error(status, headers, body):
    error = parse_error(
        status, headers, body, now=datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)
    )

    assert isinstance(error, ServiceError)
    assert (error.status_code, type(error.code), type(error.message)) == (status, str, str)
    assert error.request_id is None or type(error.request_id) is str
    assert error.retry_after is None or 0 <= error.retry_after < math.inf
    assert str(error).startswith(f"{status} {error.code}".strip())
    str(error).encode()
