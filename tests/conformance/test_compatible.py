"""The questions about the compatible protocol, put to answers as they are documented."""

from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
import pytest

from conformance.calls import Reply
from conformance.compatible import compatible_questions
from conformance.findings import Finding, compare
from conformance.probe import ask_emulator

JSON = {"content-type": "application/json; charset=utf-8"}
VECTOR = np.ones(256, dtype=np.float32) / 16

REFUSALS = {
    "a wrong key": (
        401,
        b'{"error": {"message": "Incorrect API key provided. ", "type": "invalid_request_error", '
        b'"param": null, "code": "invalid_api_key"}, "request_id": "7"}',
    ),
    "more texts than the cap": (
        400,
        b'{"error": {"message": "<400> InternalError.Algo.InvalidParameter: Value error, batch '
        b'size is invalid, it should not be larger than 10.: input.contents", '
        b'"type": "InvalidParameter", "param": null, "code": "InvalidParameter"}, '
        b'"id": "7", "request_id": "7"}',
    ),
    "an encoding_format that does not exist": (
        400,
        b"""{"error": {"message": "'encoding_format' only support with [float, base64]", """
        b'"type": "invalid_request_error"}, "request_id": "7"}',
    ),
    "no access: a workspace that does not exist": (
        401,
        b'{"error": {"message": "Access denied: Either you are not authorized to access this '
        b'workspace, or the workspace does not exist.", "id": "7", '
        b'"type": "invalid_request_error", "code": "invalid_api_key"}}',
    ),
}


def question(ending: str):
    [found] = [each for each in compatible_questions() if each.title.endswith(ending)]
    return found


def compared(ending: str, *replies: Reply) -> Finding:
    """What comes of these answers of the service, beside those of the emulator."""
    asked = question(ending)
    [emulated] = asyncio.run(ask_emulator([asked], "sk-test"))
    return compare(asked, replies, emulated)


def success(count=1, embedding=None) -> Reply:
    row = {"embedding": VECTOR.tolist() if embedding is None else embedding, "object": "embedding"}
    body = {
        "data": [{**row, "index": index} for index in range(count)],
        "model": "text-embedding-v4",
        "object": "list",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
        "id": "7",
    }
    return Reply(200, JSON, json.dumps(body).encode())


@pytest.mark.parametrize("ending", REFUSALS)
def test_a_refusal_as_documented_is_the_same(ending):
    status, body = REFUSALS[ending]

    assert compared(ending, Reply(status, JSON, body)).verdict == "same"


def test_a_refusal_of_another_form_differs():
    status, _ = REFUSALS["a wrong key"]
    _, body = REFUSALS["no access: a workspace that does not exist"]

    found = compared("a wrong key", Reply(status, JSON, body))

    assert (found.verdict, found.differing) == ("differs", ("words", "names in the body"))


def test_what_is_not_documented_is_compared_with_the_emulator():
    body = (
        b'{"error": {"message": "No.", "type": "InvalidParameter", "param": null, "code": "Odd"}}'
    )

    found = compared("an empty text", Reply(400, JSON, body))

    assert found.differing == ("code", "words", "names in the body")
    assert found.reference["status"] == ("400",)
    assert found.reference["code"] == ("InvalidParameter",)


def test_a_success_as_documented_is_the_same():
    assert compared("names, order", success(6)).verdict == "same"
    assert compared("`dimensions`", success()).verdict == "same"


@pytest.mark.parametrize("packed", [None, base64.b64encode(VECTOR.tobytes()).decode()])
def test_base64_may_be_floats(packed):
    found = compared("base64 or floats", success(), success(embedding=packed))

    assert found.verdict == "same"


def test_another_vector_behind_base64_differs():
    packed = base64.b64encode((-VECTOR).tobytes()).decode()

    found = compared("base64 or floats", success(), success(embedding=packed))

    assert found.differing == ("both are one vector",)


def test_extra_fields_that_change_the_vector_differ():
    other = success(embedding=(-VECTOR).tolist())

    found = compared("raise no error and do nothing", success(), other)

    assert found.differing == ("they leave the vector",)


def test_a_404_without_an_error_object_is_not_offered():
    reply = Reply(404, JSON, b'{"code": "NotFound", "message": "no", "request_id": "7"}')

    assert compared("a wrong key", reply).verdict == "not offered"
