"""The native protocol: whole request bodies, parsed responses, typed errors."""

from __future__ import annotations

import codecs
import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwen_embed.errors import (
    AuthenticationError,
    BatchSizeError,
    InvalidResponseError,
    MalformedResponseError,
    ModelNotFoundError,
    ModerationError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    ServiceError,
    TextRejectedError,
    UnsupportedDimensionError,
    UnsupportedEncodingError,
)
from qwen_embed.protocols import decoding, native
from qwen_embed.protocols.base import Parameters, ParsedResponse
from qwen_embed.protocols.errors import parse_error
from qwen_embed.protocols.native import build_body


@pytest.fixture(params=["lists", "arrays", "arrays without simdjson"])
def parser(request, monkeypatch):
    """Parse every response with each parser."""
    if request.param == "arrays without simdjson":
        monkeypatch.setattr(decoding, "simdjson", None)
    return request.param


@pytest.fixture
def parse_response(parser):
    def parse(body, **expected):
        read = native.parse_response(body, arrays=parser != "lists", **expected)
        rows = [row if isinstance(row, list) else row.tolist() for row in read.dense]
        return replace(read, dense=rows)

    return parse


QUERY = Parameters("text-embedding-v4", "query", dimension=64, instruct="Find it")


def answer(*rows, **more):
    embeddings = [{"text_index": index, "embedding": row} for index, row in rows]
    return json.dumps({"output": {"embeddings": embeddings}, **more}).encode()


def test_a_body_always_has_the_parameters_object():
    assert json.loads(build_body(["a"], Parameters("m", "document"))) == {
        "model": "m",
        "input": {"texts": ["a"]},
        "parameters": {"text_type": "document"},
    }


def test_a_query_has_dimension_and_instruct():
    assert json.loads(build_body(["风"], QUERY)) == {
        "model": "text-embedding-v4",
        "input": {"texts": ["风"]},
        "parameters": {"text_type": "query", "dimension": 64, "instruct": "Find it"},
    }


def test_vectors_are_sorted_by_text_index(parse_response):
    body = answer(
        (1, [3.0, 4.0]), (0, [1.0, 2.0]), usage={"total_tokens": 27}, request_id="1ba94ac8"
    )

    assert parse_response(body, count=2, dimension=None) == ParsedResponse(
        dense=[[1.0, 2.0], [3.0, 4.0]], tokens=27, request_id="1ba94ac8"
    )


def test_values_are_floats_even_if_the_service_prints_integers(parse_response):
    [row] = parse_response(answer((0, [0, 1, -2])), count=1, dimension=3).dense

    assert [type(value) for value in row] == [float] * 3


@pytest.mark.parametrize(
    "printed",
    ["-0.006929283495992422", "1.0483", "1e-7", "-3.4028235E+38", "0.1", "5e-324", "-0.0"],
)
def test_values_are_read_exactly(printed, parse_response):
    body = b'{"output":{"embeddings":[{"text_index":0,"embedding":[%s]}]}}' % printed.encode()

    assert repr(parse_response(body, count=1, dimension=1).dense[0][0]) == repr(float(printed))


@pytest.mark.parametrize(
    "body",
    [
        answer((0, [1.0])),
        answer((0, [1.0]), (1, [1.0]), (2, [1.0])),
        answer((0, [1.0]), (0, [1.0])),
        answer((0, [1.0]), (2, [1.0])),
        answer((0, [1.0]), (-1, [1.0])),
        answer((0, [1.0]), (1, [1.0, 2.0])),
        answer((0, []), (1, [])),
        answer((0, [1.0]), (1, [None])),
        answer((0, [1.0]), (1, ["1.0"])),
        answer((0, [1.0]), (1, [True])),
        answer((0, [1.0]), (1, None)),
        answer((0, [1.0]), (1, [[1.0]])),
        answer((0, [1.0]), (1, [1.0, []])),
        answer((0, [1.0, 1.0]), (1, [1.0, [1.0]])),
        answer((0, [1.0]), (1, [False]), note=["."]),  # as many points as numbers
        answer((0, [1.0]), (1, [{"x": 1.0}])),
        answer((0, [1.0]), (1, {"0": 1.0})),
        answer((0, [1.0]), (1, "[1.0]")),
        answer((0, [1.0]), ("1", [1.0])),
        answer((0, [1.0]), (1, [1.0])).replace(b"1.0", b"1e999"),
        b'{"output":{"embeddings":[{"embedding":[1.0]},{"embedding":[1.0]}]}}',
        b'{"output":{}}',
        b"{}",
        b"[]",
        b"null",
        b'"text"',
    ],
)
def test_invalid_responses_are_rejected(body, parse_response):
    with pytest.raises(InvalidResponseError) as caught:
        parse_response(body, count=2, dimension=1)
    assert not isinstance(caught.value, MalformedResponseError)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html></html>",
        answer((0, [1.0]))[:-9],
        b"\xff\xfe",
        codecs.BOM_UTF8 + answer((0, [1.5])),
        answer((0, [1.5])) + b"\0",
        answer((0, [1.5])) + b"{}",
        answer((0, [1.5])).replace(b"1.5", b"1.5,"),
        answer((0, [1.5])).replace(b"1.5", b"NaN"),
        answer((0, [1.5])).replace(b"1.5", b"Infinity"),
        answer((0, [1]), note="?").replace(b"?", b"\xff"),
        answer((0, [1]), note="?").replace(b"note", b"\xff"),
    ],
)
def test_incomplete_json_is_a_malformed_response(body, parse_response):
    with pytest.raises(MalformedResponseError):
        parse_response(body, count=1, dimension=1)


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        (b'"?"', b"1e999"),
        (b'"?"', b"1" + b"0" * 400),
        (b'"?"', rb'"\ud800"'),
        (b'"?"', b"[" * 1100 + b"]" * 1100),
        (b"1.5", b"[" * 1100 + b"]" * 1100),
        (b"1.5", b"1" + b"0" * 400),
    ],
)
def test_complete_json_that_cannot_be_parsed_is_an_invalid_response(
    written, instead, parse_response
):
    with pytest.raises(InvalidResponseError) as caught:
        parse_response(
            answer((0, [1.5]), note="?").replace(written, instead, 1), count=1, dimension=1
        )
    assert not isinstance(caught.value, MalformedResponseError)


@pytest.mark.parametrize(
    "printed",
    ["1" + "0" * 20, "-1" + "0" * 30, "18446744073709551615", "1" + "0" * 300, "1E5", "1e-400"],
)
def test_a_number_of_any_length_is_parsed_as_the_nearest_float(printed, parse_response):
    body = b'{"output":{"embeddings":[{"text_index":0,"embedding":[0.5,%s]}]}}' % printed.encode()

    assert parse_response(body, count=1, dimension=2).dense == [[0.5, float(printed)]]


ONCE = b'{"output":{"embeddings":[{"text_index":0,"embedding":[1.5]}]},"usage":{"total_tokens":3}}'


@pytest.mark.parametrize(
    ("member", "before"),
    [
        (b'"embedding"', b'"embedding":[2.5]'),
        (b'"embedding"', b'"embedding":null'),
        (b'"text_index"', b'"text_index":1'),
        (b'"text_index"', b'"text_index":"0"'),
        (b'"embeddings"', b'"embeddings":[]'),
        (b'"output"', b'"output":null'),
        (b'"output"', b'"code":"InvalidApiKey","code":null'),
        (b'"usage"', b'"usage":[]'),
        (b'"total_tokens"', b'"total_tokens":"2"'),
    ],
)
def test_the_last_of_duplicate_members_counts(member, before, parse_response):
    body = ONCE.replace(member, before + b"," + member, 1)

    assert parse_response(body, count=1, dimension=1) == ParsedResponse(
        [[1.5]], tokens=3, request_id=None
    )


def test_unknown_members_of_a_response_are_ignored(parse_response):
    besides = {"model": None, "[": "[.]", "embedding": [1, [2.5]], "x": {"y": [{}, {"z": "风"}]}}
    body = answer((0, [1.5]), **besides)
    deep = body.replace(b"null", b"[" * 900 + b"]" * 900)
    many = answer((0, [1.5]), **{f"member {n}": n for n in range(1000)})

    for each in (body, deep, many):
        assert parse_response(each, count=1, dimension=1).dense == [[1.5]]


@pytest.mark.parametrize("output", ["dense", "sparse"])
def test_vectors_that_were_not_requested_are_ignored(output, parser):
    row = {"text_index": 0, "embedding": [1.5], "sparse_embedding": [{"index": 2, "value": 1.0}]}
    row["sparse_embedding" if output == "dense" else "embedding"] = [None, "x"]
    body = json.dumps({"output": {"embeddings": [row]}}).encode()

    read = native.parse_response(
        body, count=1, dimension=1, output=output, arrays=parser != "lists"
    )

    assert len(read.dense or read.sparse) == 1


@pytest.mark.parametrize("counted", [{"total_tokens": None}, {}, None])
def test_a_response_need_not_report_tokens(counted, parse_response):
    assert parse_response(answer((0, [1.5]), usage=counted), count=1, dimension=1).tokens == 0


@pytest.mark.parametrize("tokens", [-1, 1.0, True, "3", [3], 2**64, -(2**64)])
def test_an_invalid_token_count_is_rejected(tokens, parse_response):
    body = answer((0, [1.5]), usage={"total_tokens": tokens})

    with pytest.raises(InvalidResponseError):
        parse_response(body, count=1, dimension=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.floats(allow_nan=False, allow_infinity=False),
            st.floats(width=32, allow_nan=False, allow_infinity=False),
            st.integers(-(2**53), 2**53),
            st.decimals(-1, 1, places=6).map(float),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_all_parsers_return_the_same_numbers(values):
    body = answer((0, values))

    lists = native.parse_response(body, count=1, dimension=None).dense[0]
    arrays = native.parse_response(body, count=1, dimension=None, arrays=True).dense[0]

    assert [(type(value), value) for value in lists] == [(float, float(each)) for each in values]
    assert list(arrays) == lists


def test_a_dimension_that_was_not_requested_is_rejected(parse_response):
    with pytest.raises(InvalidResponseError, match="expected 3 dimensions, got 2"):
        parse_response(answer((0, [1.0, 2.0])), count=1, dimension=3)


def test_an_error_sent_with_status_200_is_an_error(parse_response):
    body = b'{"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "r"}'

    with pytest.raises(AuthenticationError) as caught:
        parse_response(body, count=1, dimension=None)
    assert caught.value.request_id == "r"


SHAPES = {
    "native": lambda code, message: {"code": code, "message": message, "request_id": "r-1"},
    "compatible": lambda code, message: {
        "error": {
            "message": message,
            "type": "invalid_request_error" if code else None,
            "param": None,
            "code": code,
        },
        "request_id": "r-1",
    },
    "compatible, with two ids": lambda code, message: {
        "error": {"message": message, "type": code, "param": None, "code": code},
        "id": "r-0",
        "request_id": "r-1",
    },
    "compatible, without a code": lambda code, message: {
        "error": {"message": message, "type": code},
        "request_id": "r-1",
    },
    "compatible, with its id inside": lambda code, message: {
        "error": {
            "message": message,
            "id": "r-1",
            "type": "invalid_request_error" if code else None,
            "code": code,
        }
    },
}
RANGE = "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 8192]"
BATCH = (
    "<400> InternalError.Algo.InvalidParameter: Value error, batch size is invalid, "
    "it should not be larger than {}.: input.contents"
)


@pytest.mark.parametrize(
    ("status", "code", "message", "kind", "scope"),
    [
        (400, "InvalidParameter", BATCH.format(10), BatchSizeError, "texts"),
        (400, "invalid_parameter_error", BATCH.format(6), BatchSizeError, "texts"),
        (
            400,
            "InvalidParameter",
            "batch size is invalid, it should not be larger than 25.: payload.input.contents",
            BatchSizeError,
            "texts",
        ),
        (400, "InvalidParameter", RANGE, TextRejectedError, "texts"),
        (400, "InvalidParameter", "contents is neither str nor list", TextRejectedError, "texts"),
        (401, "InvalidApiKey", "Invalid API-key provided.", AuthenticationError, "call"),
        (401, "invalid_api_key", "Incorrect API key provided. ", AuthenticationError, "call"),
        (401, "NOT AUTHORIZED", "Access denied: Either ...", PermissionDeniedError, "call"),
        (400, "Arrearage", "Access denied, please make sure ...", PermissionDeniedError, "call"),
        (403, "AccessDenied", "", PermissionDeniedError, "call"),
        (403, "AccessDenied.Unpurchased", "", PermissionDeniedError, "call"),
        (403, "Model.AccessDenied", "", PermissionDeniedError, "call"),
        (403, "Workspace.AccessDenied", "", PermissionDeniedError, "call"),
        (403, "access_denied", "", PermissionDeniedError, "call"),
        (403, "AllocationQuota.FreeTierOnly", "The free tier ...", PermissionDeniedError, "call"),
        (404, "ModelNotFound", "The model `x` does not exist", ModelNotFoundError, "call"),
        (400, "Model.NotExist", "Model not exist.", ModelNotFoundError, "call"),
        (404, "model_not_found", "", ModelNotFoundError, "call"),
        (400, "model_not_supported", "", ModelNotFoundError, "call"),
        (400, "DataInspectionFailed", "Input data may ...", ModerationError, "texts"),
        (400, "data_inspection_failed", "", ModerationError, "texts"),
        (429, "Throttling", "Requests rate limit exceeded", RateLimitError, "request"),
        (429, "Throttling.RateQuota", "", RateLimitError, "request"),
        (429, "LimitRequests", "", RateLimitError, "request"),
        (429, "limit_requests", "", RateLimitError, "request"),
        (429, "Throttling.BurstRate", "", RateLimitError, "request"),
        (429, "limit_burst_rate", "", RateLimitError, "request"),
        (429, "Throttling.AllocationQuota", "Allocated quota", RateLimitError, "request"),
        (429, "insufficient_quota", "", RateLimitError, "request"),
        (429, "", "", RateLimitError, "request"),
        (429, "CommodityNotPurchased", "", PermissionDeniedError, "call"),
        (429, "PrepaidBillOverdue", "", PermissionDeniedError, "call"),
        (429, "PostpaidBillOverdue", "", PermissionDeniedError, "call"),
        (
            429,
            "Throttling.AllocationQuota",
            "Free allocated quota exceeded.",
            PermissionDeniedError,
            "call",
        ),
        (413, "BadRequest.TooLarge", "Payload Too Large.", TextRejectedError, "texts"),
        (408, "RequestTimeOut", "Request timed out", ServerError, "request"),
        (500, "RequestTimeOut", "Request timed out", ServerError, "request"),
        (500, "InternalError", "", ServerError, "request"),
        (500, "InternalError.Algo", "", ServerError, "request"),
        (500, "InternalError.Timeout", "", ServerError, "request"),
        (500, "SystemError", "", ServerError, "request"),
        (500, "ModelServiceFailed", "", ServerError, "request"),
        (500, "ModelServingError", "", ServerError, "request"),
        (503, "ModelUnavailable", "", ServerError, "request"),
        (503, "ServiceUnavailable", "", ServerError, "request"),
        (404, "", "no such path", ServiceError, "call"),
    ],
)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_an_error_is_typed_by_status_and_code(status, code, message, kind, scope, shape):
    error = parse_error(status, {}, json.dumps(shape(code, message)).encode())

    assert type(error) is kind
    assert error.scope == scope
    assert (error.status_code, error.code, error.request_id) == (status, code, "r-1")


MATRYOSHKA = (
    'Model "Qwen/Qwen3-Embedding-0.6B" does not support matryoshka representation, changing output '
    "dimensions will lead to poor results."
)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (
            400,
            {"error": {"message": MATRYOSHKA, "type": "BadRequestError", "code": 400}},
            UnsupportedDimensionError,
        ),
        (
            400,
            {"object": "error", "message": MATRYOSHKA, "type": "BadRequestError", "code": 400},
            UnsupportedDimensionError,
        ),
        (
            400,
            {"code": "InvalidParameter", "message": "Value error, dimension for embedding v3 is "},
            UnsupportedDimensionError,
        ),
        (
            400,
            {"message": "base64 encoding is not currently supported", "code": 400},
            UnsupportedEncodingError,
        ),
        (
            404,
            {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError"}},
            ModelNotFoundError,
        ),
        (
            422,
            {
                "error": "batch size 33 > maximum allowed batch size 32",
                "error_type": "Validation",
            },
            BatchSizeError,
        ),
        (
            400,
            {
                "error": {
                    "message": "This model's maximum context length is 512 tokens.",
                    "code": 400,
                }
            },
            TextRejectedError,
        ),
    ],
)
def test_an_error_of_a_self_hosted_server_is_typed(status, body, kind):
    assert type(parse_error(status, {}, json.dumps(body).encode())) is kind


def test_the_batch_limit_of_a_self_hosted_server_is_read_from_its_error():
    body = b'{"error": {"message": "batch size 33 > maximum allowed batch size 32", "code": 422}}'

    assert parse_error(422, {}, body).limit == 32


def test_the_batch_limit_is_read_from_the_error():
    body = json.dumps({"code": "InvalidParameter", "message": BATCH.format(6)}).encode()

    assert parse_error(400, {}, body).limit == 6


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Bad Gateway</html>",
        b'"text"',
        b"[1]",
        b'{"code": 5}',
        b"\xff",
        b'{"error": "down"}',
        b'{"error": {"message": 5}}',
        b'{"error": null}',
        b"[" * 100_000,
        b'{"x": %s}' % (b"[" * 2000 + b"]" * 2000),
        b'{"message": "\\ud800"}',
    ],
)
def test_an_error_with_any_body_is_typed_by_its_status(body):
    error = parse_error(502, {}, body)

    assert type(error) is ServerError
    assert str(error).startswith("502: ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"code": "Throttling", "message": 5, "request_id": {}, "error": [1]}',
        b'{"code": "Throttling", "message": "\xe9\xa3"}',
        b'{"code": "Throttling", "x": %s}' % (b"[" * 900 + b"]" * 900),
        b'{"error": {"code": "Throttling", "message": {}, "param": ["x"]}, "id": 7}',
        b'{"code": 429, "error": {"code": null, "type": "Throttling"}}',
    ],
)
def test_the_code_of_an_error_is_read_whatever_the_rest_of_the_body(body):
    error = parse_error(400, {}, body)

    assert (type(error), error.code) == (RateLimitError, "Throttling")


def test_a_batch_limit_of_thousands_of_digits_is_ignored():
    body = json.dumps({"message": BATCH.format("9" * 5000)}).encode()

    assert type(parse_error(400, {}, body)) is BatchSizeError


@pytest.mark.parametrize(
    "location", ["http://[", "http://[::1", "http://\u2100/", "http://a]b/", "//", "\0", ""]
)
def test_a_redirect_to_an_invalid_address_is_a_service_error(location):
    error = parse_error(302, {"Location": location}, b"")

    assert type(error) is ServiceError
    assert "another address" in str(error)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"Retry-After-Ms": "250", "Retry-After": "3"}, 0.25),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:10 GMT"}, 10.0),
        ({"Retry-After": "Sun, 22 Nov 2026 11:00:00 GMT"}, 0.0),
        ({"Retry-After": "-5"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({"Retry-After": "1e308"}, 1e308),
        ({"Retry-After": "\u0663"}, 3.0),
        ({"Retry-After": "\u98a8"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:10"}, 10.0),
        ({"Retry-After": "Sun, 22 Nov 1000000000000 12:00:10 GMT"}, None),
        ({"Retry-After": "Sun, 22 Nov 2026 12:00:10 +9999999999"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_parsed_in_every_format(headers, seconds):
    now = datetime(2026, 11, 22, 12, 0, 0, tzinfo=timezone.utc)

    assert parse_error(429, headers, b"{}", now=now).retry_after == seconds
