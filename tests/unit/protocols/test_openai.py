"""The OpenAI-compatible protocol: whole request bodies, parsed responses."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from qwen_embed.errors import (
    AuthenticationError,
    InvalidResponseError,
    MalformedResponseError,
    TextRejectedError,
)
from qwen_embed.protocols.base import MAX_BODY_BYTES, Parameters, ParsedResponse
from qwen_embed.protocols.openai import OPENAI, build_body, parse_response

EXPECTED = {"output": "dense", "dimension": None, "arrays": False, "truncate": False}


def packed(*values):
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


def answer(*rows, **more):
    data = [{"index": at, "embedding": row, "object": "embedding"} for at, row in rows]
    return json.dumps({"data": data, "model": "m", "object": "list", **more}).encode()


def plain(read):
    rows = [row if isinstance(row, list) else row.tolist() for row in read.dense]
    return replace(read, dense=rows)


def test_documents_are_sent_as_they_are():
    parameters = Parameters("m", "document", query_frame=("Query:", ""))

    assert json.loads(build_body(["风", "a"], parameters)) == {
        "model": "m",
        "input": ["风", "a"],
        "encoding_format": "base64",
    }


def test_queries_are_sent_exactly_in_their_frame():
    parameters = Parameters("m", "query", 64, query_frame=("Instruct: Find\nQuery:", ""))

    assert json.loads(build_body(["{query} {task}\n"], parameters)) == {
        "model": "m",
        "input": ["Instruct: Find\nQuery:{query} {task}\n"],
        "encoding_format": "base64",
        "dimensions": 64,
    }


def test_a_dimension_that_is_truncated_locally_is_not_sent():
    body = build_body(["a"], Parameters("m", "document", 64, truncate=True))

    assert json.loads(body) == {"model": "m", "input": ["a"], "encoding_format": "base64"}


def test_the_fallback_requests_printed_numbers():
    body = OPENAI.fallback.build_body(["a"], Parameters("m", "document"))

    assert json.loads(body) == {"model": "m", "input": ["a"], "encoding_format": "float"}


def test_a_body_larger_than_the_service_accepts_is_not_sent():
    with pytest.raises(TextRejectedError):
        build_body(["a" * MAX_BODY_BYTES], Parameters("m", "document"))


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("encode", [packed, lambda *values: list(values)])
def test_numbers_may_be_base64_or_printed_in_any_order(encode, arrays):
    body = answer(
        (1, encode(3.0, 4.0)), (0, encode(1.0, 0.5)), usage={"total_tokens": 27}, id="e-1"
    )

    read = parse_response(body, count=2, **{**EXPECTED, "arrays": arrays})

    assert plain(read) == ParsedResponse(
        dense=[[1.0, 0.5], [3.0, 4.0]], tokens=27, request_id="e-1"
    )
    assert arrays or all(type(row) is list for row in read.dense)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 3, "total_tokens": 4}, 4),
        ({"prompt_tokens": 3}, 3),
        ({"prompt_tokens": 3, "total_tokens": None}, 3),
        ({}, 0),
        (None, 0),
    ],
)
def test_a_server_need_not_report_tokens(usage, tokens):
    assert (
        parse_response(answer((0, packed(1.0)), usage=usage), count=1, **EXPECTED).tokens == tokens
    )


def test_base64_numbers_become_arrays_without_a_float_object_each():
    read = parse_response(answer((0, packed(0.1, 0.2))), count=1, **{**EXPECTED, "arrays": True})

    assert read.dense[0].dtype == np.float32


def test_longer_vectors_are_truncated_and_scaled_if_requested():
    expected = {**EXPECTED, "dimension": 2, "truncate": True}

    read = parse_response(answer((0, packed(3.0, 4.0, 5.0))), count=1, **expected)

    assert read.dense[0] == pytest.approx([0.6, 0.8])


def test_vectors_that_ignore_the_dimension_are_rejected_with_the_remedy():
    with pytest.raises(
        InvalidResponseError, match=r"expected 2 dimensions, got 3.*truncate_locally"
    ):
        parse_response(answer((0, packed(1, 2, 3))), count=1, **{**EXPECTED, "dimension": 2})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([(0, packed(1.0))], "1 vectors for 2 texts"),
        ([(0, packed(1.0)), (0, packed(2.0))], "no vector for index 1"),
        ([(0, packed(1.0)), (2, packed(2.0))], "no vector for index 1"),
        ([(0, packed(1.0)), (1, packed(1.0, 2.0))], "expected 1 dimensions, got 2"),
        ([(0, ""), (1, "")], "empty vector"),
        ([(0, []), (1, [])], "empty vector"),
        ([(0, packed(1.0)), (1, packed(float("nan")))], "not finite"),
        ([(0, packed(1.0)), (1, packed(float("inf")))], "not finite"),
        ([(0, packed(1.0)), (1, packed(float("inf"), float("-inf")))], "not finite"),
        ([(0, packed(1.0)), (1, "!!!!")], "is invalid"),
        ([(0, packed(1.0)), (1, "AAA=")], "2 bytes"),
        ([(0, packed(1.0)), (1, "AAAAAA")], "is invalid"),
        ([(0, packed(1.0)), (1, "AAAA AA==")], "is invalid"),
        ([(0, packed(1.0)), (1, "_-__AA==")], "is invalid"),
        ([(0, packed(1e38, 1e38)), (1, packed(1e38, float("nan")))], "not finite"),
        ([(0, packed(1.0)), (1, None)], "is invalid"),
        ([(0, packed(1.0)), (1, ["1.0"])], "is invalid"),
        ([(0, packed(1.0)), (1, [None])], "is invalid"),
        ([(0, packed(1.0)), ("1", packed(1.0))], "is invalid"),
    ],
)
@pytest.mark.parametrize("arrays", [False, True])
def test_invalid_responses_are_rejected(rows, message, arrays):
    with pytest.raises(InvalidResponseError, match=message):
        parse_response(answer(*rows), count=2, **{**EXPECTED, "arrays": arrays})


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize(
    ("written", "kind"),
    [
        ("[" * 1100 + "]" * 1100, InvalidResponseError),
        ("1e999", InvalidResponseError),
        ('"\xff"', MalformedResponseError),
    ],
)
def test_invalid_values_are_an_error_even_if_truncation_would_remove_them(written, kind, arrays):
    body = answer((0, packed(1.0)), x=0).replace(b'"x": 0', b'"x": ' + written.encode("latin-1"))

    with pytest.raises(InvalidResponseError) as caught:
        parse_response(body, count=1, **{**EXPECTED, "arrays": arrays})
    assert type(caught.value) is kind


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize(
    "row",
    [packed(3e38, -3e38), [3e307, -3e307], packed(1e-44, -1e-44), [5e-324, -5e-324]],
    ids=["large, packed", "large, printed", "small, packed", "small, printed"],
)
@pytest.mark.filterwarnings("error")
def test_vectors_of_any_finite_numbers_are_scaled_to_unit_length(row, arrays):
    expected = {**EXPECTED, "dimension": 2, "truncate": True, "arrays": arrays}

    read = parse_response(answer((0, row)), count=1, **expected)

    assert read.dense[0] == pytest.approx([0.5**0.5, -(0.5**0.5)])


@pytest.mark.parametrize("arrays", [False, True])
@pytest.mark.parametrize("tokens", [-1, 1.0, True, "3", 2**64])
def test_an_invalid_token_count_is_rejected(tokens, arrays):
    body = answer((0, packed(1.0)), usage={"total_tokens": 3, "prompt_tokens": tokens})

    with pytest.raises(InvalidResponseError):
        parse_response(body, count=1, **{**EXPECTED, "arrays": arrays})


def test_a_vector_shorter_than_the_dimension_is_rejected():
    with pytest.raises(InvalidResponseError, match="smaller dimension"):
        parse_response(
            answer((0, packed(1, 2))), count=1, **{**EXPECTED, "dimension": 4, "truncate": True}
        )


def test_a_truncated_response_is_malformed():
    with pytest.raises(MalformedResponseError):
        parse_response(answer((0, packed(1.0)))[:-9], count=1, **EXPECTED)


def test_a_response_without_vectors_is_rejected():
    with pytest.raises(InvalidResponseError, match="no embeddings"):
        parse_response(b'{"object": "list"}', count=1, **EXPECTED)


def test_an_error_sent_with_status_200_is_an_error():
    body = b'{"error": {"message": "no", "code": "invalid_api_key"}, "request_id": "r"}'

    with pytest.raises(AuthenticationError):
        parse_response(body, count=1, **EXPECTED)
