"""What is seen in raw answers."""

from __future__ import annotations

import doctest
import json

import pytest

from conformance import observations as see
from conformance.calls import Reply


def answer(*rows) -> Reply:
    body = {"output": {"embeddings": list(rows)}, "usage": {"total_tokens": 1}, "request_id": "7"}
    return Reply(200, {}, json.dumps(body).encode())


def dense(*values, index=0):
    return {"text_index": index, "embedding": list(values)}


def sparse(**values):
    entries = [
        {"index": int(name[1:]), "value": value, "token": name} for name, value in values.items()
    ]
    return answer({"text_index": 0, "sparse_embedding": entries})


def test_the_examples_in_docstrings_are_true():
    assert doctest.testmod(see).failed == 0


@pytest.mark.parametrize(
    ("other", "alike"),
    [((1.0, 0.0), "exactly"), ((1.0, 0.001), "nearly"), ((0.0, 1.0), "no"), ((1.0,), "no")],
)
def test_dense_rows_are_alike_exactly_nearly_or_not(other, alike):
    assert see.dense_alike(answer(dense(1.0, 0.0)), answer(dense(*other))) == alike


@pytest.mark.parametrize(
    ("other", "alike"),
    [
        ({"t1": 0.5, "t2": 0.25}, "exactly"),
        ({"t2": 0.25, "t1": 0.501}, "nearly"),
        ({"t1": 0.5, "t2": 0.75}, "no"),
        ({"t1": 0.5}, "no"),
    ],
)
def test_sparse_rows_are_alike_exactly_nearly_or_not(other, alike):
    assert see.sparse_alike(sparse(t1=0.5, t2=0.25), sparse(**other)) == alike


def test_rows_are_read_in_the_order_of_the_texts():
    mixed = answer(dense(2.0, index=1), dense(1.0, index=0))

    assert see.dense(mixed).tolist() == [[1.0], [2.0]]
    assert see.success_shape(mixed)["rows in the order of the texts"] == "no"


def test_unit_length_is_told_from_other_lengths():
    assert see.length(answer(dense(0.6, 0.8))) == "2 numbers, unit length"
    assert see.length(answer(dense(3.0, 4.0))) == "2 numbers, not unit length"


def test_a_sparse_row_above_what_is_claimed_is_seen():
    seen = see.sparse_shape(sparse(t9=1.2, t300000=0.1), "t9 t300000", 250_000, 1.05)

    assert seen.facts["indices are whole numbers below 250000"] == "no"
    assert seen.facts["values are above 0 and at most 1.05"] == "no"
    assert seen.notes["values above 1"] == "1"


@pytest.mark.parametrize("code", ["", "Odd"])
def test_a_200_with_a_code_is_a_refusal(code):
    body = {"output": {"embeddings": []}, "code": code, "message": "why"}
    reply = Reply(200, {}, json.dumps(body).encode())

    assert see.outcome(reply).get("code") == (code or None)
