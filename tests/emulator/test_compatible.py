"""The OpenAI-compatible protocol of the service; tests compare whole bodies."""

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


def error_of(response: Response):
    """Return status and body, with each id checked and replaced by its name."""
    assert response.headers["Content-Type"] == "application/json"
    body = response.json
    for part in (body, body["error"]):
        for name in {"id", "request_id"} & set(part):
            part[name] = str(uuid.UUID(part[name])) and name
    return response.status, body


def algorithm_error(message):
    described = {"message": message, "type": "InvalidParameter", "param": None}
    error = {**described, "code": "InvalidParameter"}
    return 400, {"error": error, "id": "id", "request_id": "request_id"}


def access_error(status, code, message, kind="invalid_request_error"):
    error = {"message": message, "type": kind, "param": None, "code": code}
    return status, {"error": error, "request_id": "request_id"}


def test_a_success_has_exactly_the_format_of_the_service(service):
    response = embed_openai(service, ["风急天高", "hello"], dimensions=64, encoding_format="float")
    body = response.json
    vectors = [item.pop("embedding") for item in body["data"]]
    assert response.status == 200
    assert response.headers["Content-Type"] == "application/json"
    assert uuid.UUID(body.pop("id"))
    assert body == {
        "data": [{"index": 0, "object": "embedding"}, {"index": 1, "object": "embedding"}],
        "model": "text-embedding-v4",
        "object": "list",
        "usage": {"prompt_tokens": 6, "total_tokens": 6},
    }
    assert np.array(vectors).shape == (2, 64)


def test_a_single_text_is_accepted_without_a_list(service):
    alone = embed_openai(service, "hello", dimensions=64).json["data"]
    assert alone == embed_openai(service, ["hello"], dimensions=64).json["data"]


def test_a_vector_equals_the_native_vector_of_a_document(service):
    native = embed(service, ["hello"], dimension=64, text_type="document").vectors[0]
    (item,) = embed_openai(service, "hello", dimensions=64).json["data"]
    assert item["embedding"] == native.tolist()


def test_native_parameters_are_accepted_and_have_no_effect(service):
    plain = embed_openai(service, "hello", dimensions=64).json["data"]
    extra = {"text_type": "query", "instruct": "Find it", "output_type": "sparse"}
    assert embed_openai(service, "hello", dimensions=64, **extra).json["data"] == plain


def test_base64_holds_the_same_numbers_as_little_endian_float32(service):
    (floats,) = embed_openai(service, "hello", encoding_format="float").json["data"]
    (packed,) = embed_openai(service, "hello", encoding_format="base64").json["data"]
    unpacked = np.frombuffer(base64.b64decode(packed["embedding"]), dtype="<f4")
    assert unpacked.tolist() == floats["embedding"]


def test_a_base64_request_can_get_printed_numbers(service):
    service.base64_as_floats = True
    (item,) = embed_openai(service, "hello", encoding_format="base64").json["data"]
    assert len(item["embedding"]) == 1024


def test_vectors_can_be_shuffled_with_the_right_indices(service):
    texts = [f"text number {number}" for number in range(10)]
    in_order = [item["embedding"] for item in embed_openai(service, texts).json["data"]]
    service.shuffle = True
    items = embed_openai(service, texts).json["data"]
    order = [item["index"] for item in items]
    assert order != sorted(order)
    assert [item["embedding"] for item in items] == [in_order[index] for index in order]


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
def test_an_invalid_request_is_rejected_with_the_message_of_the_service(service, body, message):
    assert error_of(post_openai(service, body)) == algorithm_error(message)
    assert service.requests[0].code == "InvalidParameter"


@pytest.mark.parametrize("encoding_format", ["int8", None, 7, ["float"]])
def test_an_unknown_encoding_is_rejected_without_a_code(service, encoding_format):
    response = embed_openai(service, "a", encoding_format=encoding_format)
    message = "'encoding_format' only support with [float, base64]"
    error = {"message": message, "type": "invalid_request_error"}
    assert error_of(response) == (400, {"error": error, "request_id": "request_id"})


@pytest.mark.parametrize("key", ["sk-other", None])
def test_a_wrong_key_is_rejected(service, key):
    response = post_openai(service, {"model": "text-embedding-v4", "input": "a"}, key=key)
    expected = access_error(401, "invalid_api_key", "Incorrect API key provided. ")
    assert error_of(response) == expected
    assert service.requests[0].code == "invalid_api_key"


def test_an_unknown_model_is_not_found(service):
    message = "The model `xxx` does not exist or you do not have access to it."
    assert error_of(embed_openai(service, "a", model="xxx")) == access_error(
        404, "model_not_found", message
    )


def test_an_unknown_workspace_is_rejected_in_its_own_format(service):
    service.workspaces = []
    body = {"model": "text-embedding-v4", "input": "a"}
    status, error = error_of(post_openai(service, body, X_DashScope_WorkSpace="llm-0"))
    assert error["error"].pop("message").startswith("Access denied: ")
    kind = {"type": "invalid_request_error", "code": "invalid_api_key"}
    assert (status, error) == (401, {"error": {"id": "id", **kind}})


def test_an_unknown_path_is_not_found_in_the_format_of_the_protocol(service):
    response = send(f"{service.openai_url}/models", method="GET")
    message = NOT_FOUND.format("GET /compatible-mode/v1/models")
    assert error_of(response) == access_error(404, "NotFound", message, "NotFound")


def test_a_body_above_16_mib_is_rejected(service):
    response = embed_openai(service, "a" * (16 * 1024 * 1024))
    code = "BadRequest.TooLarge"
    assert error_of(response) == access_error(413, code, "Payload Too Large.", code)


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
def test_both_protocols_share_a_quota_and_throttle_in_their_own_format(
    service, quota, code, message
):
    service.set_quota(**{quota: 60})
    assert embed(service, ["a"]).status == 200
    assert error_of(embed_openai(service, "a")) == access_error(429, code, message, code)


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
def test_an_injected_error_has_the_format_and_the_code_of_the_protocol(service, planned, printed):
    service.fail_next(status=418, code=planned, message="No.", headers={"Retry-After": "3"})
    response = embed_openai(service, "a")
    assert error_of(response) == access_error(418, printed, "No.", printed)
    assert response.headers["Retry-After"] == "3"
    assert embed_openai(service, "a").status == 200


def test_an_injected_error_can_be_an_html_page(service):
    page = b"<html>502 Bad Gateway</html>"
    service.fail_next(status=502, body=page)
    response = embed_openai(service, "a")
    assert (response.status, response.raw, response.headers["Content-Type"]) == (
        502,
        page,
        "text/html",
    )


def test_a_connection_can_be_dropped(service):
    service.drop_next()
    with pytest.raises(http.client.RemoteDisconnected):
        embed_openai(service, "a")


def test_a_model_can_be_changed_for_both_protocols(service):
    service.set_model("text-embedding-v4", texts_per_request=6)
    assert "larger than 6." in embed_openai(service, ["a"] * 7).json["error"]["message"]


def test_random_faults_have_the_format_of_the_protocol(service):
    service.inject_faults(1, seed=2)  # the first fault of this seed is a 429
    response = embed_openai(service, "a")
    code = "limit_requests"
    assert error_of(response) == access_error(429, code, "please try again later.", code)
