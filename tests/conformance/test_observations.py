"""The facts that are observed in raw responses."""

from __future__ import annotations

import doctest
import json

import pytest

from conformance import observations as obs
from conformance.calls import Response


def success(*items) -> Response:
    body = {"output": {"embeddings": list(items)}, "usage": {"total_tokens": 1}, "request_id": "7"}
    return Response(200, {}, json.dumps(body).encode())


def dense(*values, index=0):
    return {"text_index": index, "embedding": list(values)}


def sparse(**values):
    entries = [
        {"index": int(name[1:]), "value": value, "token": name} for name, value in values.items()
    ]
    return success({"text_index": 0, "sparse_embedding": entries})


def test_the_docstring_examples_are_correct():
    assert doctest.testmod(obs).failed == 0


@pytest.mark.parametrize(
    ("other", "expected"),
    [((1.0, 0.0), "exactly"), ((1.0, 0.001), "nearly"), ((0.0, 1.0), "no"), ((1.0,), "no")],
)
def test_dense_vectors_are_equal_exactly_nearly_or_not(other, expected):
    assert obs.dense_alike(success(dense(1.0, 0.0)), success(dense(*other))) == expected


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"t1": 0.5, "t2": 0.25}, "exactly"),
        ({"t2": 0.25, "t1": 0.501}, "nearly"),
        ({"t1": 0.5, "t2": 0.75}, "no"),
        ({"t1": 0.5}, "no"),
    ],
)
def test_sparse_vectors_are_equal_exactly_nearly_or_not(other, expected):
    assert obs.sparse_alike(sparse(t1=0.5, t2=0.25), sparse(**other)) == expected


def test_vectors_are_read_in_the_order_of_the_texts():
    mixed = success(dense(2.0, index=1), dense(1.0, index=0))

    assert obs.dense(mixed).tolist() == [[1.0], [2.0]]
    assert obs.success_shape(mixed)["vectors in the order of the texts"] == "no"


def test_unit_length_is_distinguished_from_other_lengths():
    assert obs.length(success(dense(0.6, 0.8))) == "2 numbers, unit length"
    assert obs.length(success(dense(3.0, 4.0))) == "2 numbers, not unit length"


def test_a_sparse_vector_out_of_bounds_is_observed():
    observed = obs.sparse_shape(sparse(t9=1.2, t300000=0.1), "t9 t300000", 250_000, 1.05)

    assert observed.facts["indices are integers below 250000"] == "no"
    assert observed.facts["values are above 0 and at most 1.05"] == "no"
    assert observed.notes["values above 1"] == "1"


@pytest.mark.parametrize("code", ["", "Odd"])
def test_a_200_with_a_code_is_an_error(code):
    body = {"output": {"embeddings": []}, "code": code, "message": "why"}
    response = Response(200, {}, json.dumps(body).encode())

    assert obs.outcome(response).get("code") == (code or None)
