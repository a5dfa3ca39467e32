"""The OpenAI-compatible protocol of the service, whole bodies compared."""

import base64
import http.client
import uuid

import numpy as np
import pytest

from .calls import Response, embed, embed_openai, post_openai, send

ALGO = "<400> InternalError.Algo.InvalidParameter: "
NOT_TEXTS = f"{ALGO}Value error, contents is neither str nor list of str.: input.contents"
RANGE = f"{ALGO}Range of input length should be [1, 8192]"
WRONG_DIMENSION = (
    f"{ALGO}Value error, dimension for embedding v3 is invalid, "
    "its value shold be in [64, 128, 256, 512, 768, 1024, 1536, 2048]"
)
NOT_FOUND = (
    "This emulator has no {}. It has POST /api/v1/services/embeddings/text-embedding/text-embedding"
    " and POST /compatible-mode/v1/embeddings."
)


def error_of(reply: Response):
    """Status and body; each id is looked at and replaced."""
    assert reply.headers["Content-Type"] == "application/json"
    body = reply.json
    for place in (body, body["error"]):
        for name in {"id", "request_id"} & set(place):
            place[name] = str(uuid.UUID(place[name])) and name
    return reply.status, body


def of_the_algorithm(message):
    described = {"message": message, "type": "InvalidParameter", "param": None}
    error = {**described, "code": "InvalidParameter"}
    return 400, {"error": error, "id": "id", "request_id": "request_id"}


def of_the_door(status, code, message, kind="invalid_request_error"):
    error = {"message": message, "type": kind, "param": None, "code": code}
    return status, {"error": error, "request_id": "request_id"}


def test_a_success_has_exactly_the_shape_of_the_service(service):
    reply = embed_openai(service, ["风急天高", "hello"], dimensions=64, encoding_format="float")
    body = reply.json
    vectors = [row.pop("embedding") for row in body["data"]]
    assert reply.status == 200
    assert reply.headers["Content-Type"] == "application/json"
    assert uuid.UUID(body.pop("id"))
    assert body == {
        "data": [{"index": 0, "object": "embedding"}, {"index": 1, "object": "embedding"}],
        "model": "text-embedding-v4",
        "object": "list",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    assert np.array(vectors).shape == (2, 64)


def test_a_text_need_not_be_in_a_list(service):
    alone = embed_openai(service, "hello", dimensions=64).json["data"]
    assert alone == embed_openai(service, ["hello"], dimensions=64).json["data"]


def test_a_vector_is_the_native_one_of_a_document(service):
    native = embed(service, ["hello"], dimension=64, text_type="document").vectors[0]
    (row,) = embed_openai(service, "hello", dimensions=64).json["data"]
    assert row["embedding"] == native.tolist()


def test_what_is_native_only_raises_no_error_and_has_no_effect(service):
    plain = embed_openai(service, "hello", dimensions=64).json["data"]
    extra = {"text_type": "query", "instruct": "Find it", "output_type": "sparse"}
    assert embed_openai(service, "hello", dimensions=64, **extra).json["data"] == plain


def test_base64_is_the_same_numbers_as_little_endian_singles(service):
    (floats,) = embed_openai(service, "hello", encoding_format="float").json["data"]
    (packed,) = embed_openai(service, "hello", encoding_format="base64").json["data"]
    unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), dtype="<f4")
    assert unpacked.tolist() == floats["embedding"]


def test_base64_may_be_answered_with_numbers(service):
    service.base64_as_floats = True
    (row,) = embed_openai(service, "hello", encoding_format="base64").json["data"]
    assert len(row["embedding"]) == 1024


def test_rows_may_come_in_random_order_with_the_right_indices(service):
    texts = [f"text number {number}" for number in range(10)]
    in_order = [row["embedding"] for row in embed_openai(service, texts).json["data"]]
    service.shuffle = True
    rows = embed_openai(service, texts).json["data"]
    order = [row["index"] for row in rows]
    assert order != sorted(order)
    assert [row["embedding"] for row in rows] == [in_order[index] for index in order]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (None, "The request body must be a JSON object."),
        ({"input": "a"}, '"model" must be present and a string.'),
        ({"model": "text-embedding-v4"}, NOT_TEXTS),
        ({"model": "text-embedding-v4", "input": None}, NOT_TEXTS),
        ({"model": "text-embedding-v4", "input": []}, NOT_TEXTS),
        ({"model": "text-embedding-v4", "input": {"texts": ["a"]}}, NOT_TEXTS),
        ({"model": "text-embedding-v4", "input": ["a", None]}, NOT_TEXTS),
        ({"model": "text-embedding-v4", "input": [1820, 9987]}, NOT_TEXTS),
        ({"model": "text-embedding-v4", "input": [[1820, 9987]]}, NOT_TEXTS),
        (
            {"model": "text-embedding-v4", "input": ["a"] * 11},
            f"{ALGO}Value error, batch size is invalid, it should not be larger than 10."
            ": input.contents",
        ),
        (
            {"model": "text-embedding-v2", "input": ["a"] * 26},
            "batch size is invalid, it should not be larger than 25.: payload.input.contents",
        ),
        ({"model": "text-embedding-v4", "input": ""}, RANGE),
        ({"model": "text-embedding-v4", "input": ["a", " "]}, RANGE),
        ({"model": "text-embedding-v4", "input": "风" * 8193}, RANGE),
        ({"model": "text-embedding-v4", "input": "a", "dimensions": 100}, WRONG_DIMENSION),
        ({"model": "text-embedding-v4", "input": "a", "dimensions": "64"}, WRONG_DIMENSION),
        ({"model": "text-embedding-v4", "input": "a", "dimensions": None}, WRONG_DIMENSION),
    ],
)
def test_a_wrong_request_is_refused_in_the_words_of_the_service(service, body, message):
    assert error_of(post_openai(service, body)) == of_the_algorithm(message)
    assert service.requests[0].code == "InvalidParameter"


@pytest.mark.parametrize("encoding_format", ["int8", None, 7, ["float"]])
def test_an_encoding_that_does_not_exist_is_refused_without_a_code(service, encoding_format):
    reply = embed_openai(service, "a", encoding_format=encoding_format)
    message = "'encoding_format' only support with [float, base64]"
    error = {"message": message, "type": "invalid_request_error"}
    assert error_of(reply) == (400, {"error": error, "request_id": "request_id"})


@pytest.mark.parametrize("key", ["sk-other", None])
def test_another_key_is_refused(service, key):
    reply = post_openai(service, {"model": "text-embedding-v4", "input": "a"}, key=key)
    expected = of_the_door(401, "invalid_api_key", "Incorrect API key provided. ")
    assert error_of(reply) == expected
    assert service.requests[0].code == "invalid_api_key"


def test_an_unknown_model_is_not_found(service):
    message = "The model `xxx` does not exist or you do not have access to it."
    assert error_of(embed_openai(service, "a", model="xxx")) == of_the_door(
        404, "model_not_found", message
    )


def test_a_workspace_that_does_not_exist_is_refused_in_a_form_of_its_own(service):
    service.workspaces = []
    body = {"model": "text-embedding-v4", "input": "a"}
    status, refused = error_of(post_openai(service, body, X_DashScope_WorkSpace="llm-0"))
    assert refused["error"].pop("message").startswith("Access denied: ")
    kind = {"type": "invalid_request_error", "code": "invalid_api_key"}
    assert (status, refused) == (401, {"error": {"id": "id", **kind}})


def test_another_path_below_the_root_is_not_found_in_the_form_of_the_protocol(service):
    reply = send(f"{service.openai_url}/models", method="GET")
    message = NOT_FOUND.format("GET /compatible-mode/v1/models")
    assert error_of(reply) == of_the_door(404, "NotFound", message, "NotFound")


def test_a_body_above_16_mib_is_refused(service):
    reply = embed_openai(service, "a" * (16 * 1024 * 1024))
    code = "BadRequest.TooLarge"
    assert error_of(reply) == of_the_door(413, code, "Payload Too Large.", code)


@pytest.mark.parametrize(
    ("quota", "code", "message"),
    [
        (
            "requests_per_minute",
            "limit_requests",
            "Requests rate limit exceeded, please try again later.",
        ),
        (
            "tokens_per_minute",
            "insufficient_quota",
            "Allocated quota exceeded, please increase your quota limit.",
        ),
    ],
)
def test_a_quota_is_shared_by_both_protocols_and_refuses_in_the_form_of_each(
    service, quota, code, message
):
    service.set_quota(**{quota: 60})
    assert embed(service, ["a"]).status == 200
    assert error_of(embed_openai(service, "a")) == of_the_door(429, code, message, code)


@pytest.mark.parametrize(
    ("planned", "printed"),
    [
        ("Throttling.BurstRate", "limit_burst_rate"),
        ("limit_burst_rate", "limit_burst_rate"),
        ("Throttling", "limit_requests"),
        ("Workspace.AccessDenied", "access_denied"),
        ("DataInspectionFailed", "data_inspection_failed"),
        ("InternalError", "InternalError"),
    ],
)
def test_a_planned_failure_has_the_form_and_the_code_of_the_protocol(service, planned, printed):
    service.fail_next(status=418, code=planned, message="No.", headers={"Retry-After": "3"})
    reply = embed_openai(service, "a")
    assert error_of(reply) == of_the_door(418, printed, "No.", printed)
    assert reply.headers["Retry-After"] == "3"
    assert embed_openai(service, "a").status == 200


def test_a_failure_may_be_the_page_of_a_proxy(service):
    page = b"<html>502 Bad Gateway</html>"
    service.fail_next(status=502, body=page)
    reply = embed_openai(service, "a")
    assert (reply.status, reply.raw, reply.headers["Content-Type"]) == (502, page, "text/html")


def test_a_connection_may_be_dropped(service):
    service.drop_next()
    with pytest.raises(http.client.RemoteDisconnected):
        embed_openai(service, "a")


def test_a_model_may_be_changed_for_both_protocols(service):
    service.set_model("text-embedding-v4", texts_per_request=6)
    assert "larger than 6." in embed_openai(service, ["a"] * 7).json["error"]["message"]


def test_a_storm_blows_in_the_form_of_the_protocol(service):
    service.inject_faults(1, seed=2)  # whose first fault is a 429
    reply = embed_openai(service, "a")
    code = "limit_requests"
    assert error_of(reply) == of_the_door(429, code, "please try again later.", code)
