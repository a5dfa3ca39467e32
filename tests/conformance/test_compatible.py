"""The questions about the compatible protocol, with documented responses."""

from __future__ import annotations

import asyncio
import base64
import json

import numpy as np
import pytest

from conformance.calls import Response
from conformance.compatible import compatible_questions
from conformance.findings import Finding, compare
from conformance.probe import ask_emulator

JSON = {"content-type": "application/json; charset=utf-8"}
VECTOR = np.ones(256, dtype=np.float32) / 16

ERRORS = {
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
    "an unknown encoding_format": (
        400,
        b"""{"error": {"message": "'encoding_format' only support with [float, base64]", """
        b'"type": "invalid_request_error"}, "request_id": "7"}',
    ),
    "no access: an unknown workspace": (
        401,
        b'{"error": {"message": "Access denied: Either you are not authorized to access this '
        b'workspace, or the workspace does not exist.", "id": "7", '
        b'"type": "invalid_request_error", "code": "invalid_api_key"}}',
    ),
}


def question(ending: str):
    [found] = [each for each in compatible_questions() if each.title.endswith(ending)]
    return found


def compared(ending: str, *responses: Response) -> Finding:
    """Compare these responses of the service with those of the emulator."""
    found = question(ending)
    [emulated] = asyncio.run(ask_emulator([found], "sk-test"))
    return compare(found, responses, emulated)


def success(count=1, embedding=None) -> Response:
    item = {"embedding": VECTOR.tolist() if embedding is None else embedding, "object": "embedding"}
    body = {
        "data": [{**item, "index": index} for index in range(count)],
        "model": "text-embedding-v4",
        "object": "list",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
        "id": "7",
    }
    return Response(200, JSON, json.dumps(body).encode())


@pytest.mark.parametrize("ending", ERRORS)
def test_a_documented_error_is_the_same(ending):
    status, body = ERRORS[ending]

    assert compared(ending, Response(status, JSON, body)).verdict == "same"


def test_an_error_of_another_format_differs():
    status, _ = ERRORS["a wrong key"]
    _, body = ERRORS["no access: an unknown workspace"]

    found = compared("a wrong key", Response(status, JSON, body))

    assert (found.verdict, found.differing) == ("differs", ("message", "keys of the body"))


def test_undocumented_facts_are_compared_with_the_emulator():
    body = (
        b'{"error": {"message": "No.", "type": "InvalidParameter", "param": null, "code": "Odd"}}'
    )

    found = compared("an empty text", Response(400, JSON, body))

    assert found.differing == ("code", "message", "keys of the body")
    assert found.reference["status"] == ("400",)
    assert found.reference["code"] == ("InvalidParameter",)


def test_a_documented_success_is_the_same():
    assert compared("keys, order", success(6)).verdict == "same"
    assert compared("`dimensions`", success()).verdict == "same"


@pytest.mark.parametrize("packed", [None, base64.b64encode(VECTOR.tobytes()).decode()])
def test_base64_or_floats_are_the_same(packed):
    found = compared("base64 or floats", success(), success(embedding=packed))

    assert found.verdict == "same"


def test_a_different_vector_in_base64_differs():
    packed = base64.b64encode((-VECTOR).tobytes()).decode()

    found = compared("base64 or floats", success(), success(embedding=packed))

    assert found.differing == ("both are the same vector",)


def test_extra_fields_that_change_the_vector_differ():
    other = success(embedding=(-VECTOR).tolist())

    found = compared("raise no error and have no effect", success(), other)

    assert found.differing == ("same vector",)


def test_a_404_without_an_error_object_is_not_offered():
    response = Response(404, JSON, b'{"code": "NotFound", "message": "no", "request_id": "7"}')

    assert compared("a wrong key", response).verdict == "not offered"
