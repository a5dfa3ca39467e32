"""Sparse vectors: parsed from responses, merged, packed, combined."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_embed.errors import InvalidResponseError
from qwen_embed.explain import shared_tokens
from qwen_embed.protocols.base import Parameters
from qwen_embed.protocols.native import build_body, parse_response
from qwen_embed.sparse import SparseRow, SparseVectors

ROWS = st.lists(
    st.dictionaries(st.integers(0, 2**32 - 2), st.floats(0, 2, width=32), max_size=20).map(
        lambda row: SparseRow(tuple(sorted(row)), tuple(row[index] for index in sorted(row)))
    )
)


def answer(*rows, dense=True):
    embeddings = [
        {
            "text_index": n,
            **({"embedding": [1.0]} if dense else {}),
            "sparse_embedding": [
                {"index": index, "value": value, "token": f"t{index}"} for index, value in row
            ],
        }
        for n, row in enumerate(rows)
    ]
    return json.dumps({"output": {"embeddings": embeddings}}).encode()


@pytest.mark.parametrize("output", ["sparse", "dense&sparse"])
def test_the_requested_output_is_sent(output):
    body = json.loads(build_body(["a"], Parameters("m", "document", output=output)))

    assert body["parameters"] == {"text_type": "document", "output_type": output}


def test_entries_are_sorted_and_duplicates_merged_by_the_largest_value():
    [row] = parse_response(
        answer([(9, 0.5), (2, 1.0), (9, 0.75), (2, 0.5)]),
        count=1,
        dimension=None,
        output="dense&sparse",
    ).sparse

    assert row == SparseRow((2, 9), (1.0, 0.75), ("t2", "t9"))


def test_a_sparse_response_needs_no_dense_vector():
    read = parse_response(answer([(2, 1.0)], dense=False), count=1, dimension=64, output="sparse")

    assert (read.dense, len(read.sparse)) == ([], 1)


def test_a_token_may_be_missing():
    body = answer([(2, 1.0)]).replace(b', "token": "t2"', b"")

    [row] = parse_response(body, count=1, dimension=None, output="sparse").sparse
    assert row.tokens == ("",)


@pytest.mark.parametrize(
    "entry",
    [
        (-1, 0.5),
        (2**32 - 1, 0.5),
        (2**64, 0.5),
        (3, -0.1),
        (3, 1e39),
        (3, None),
        (3, True),
        ("3", 0.5),
        (1.5, 0.5),
        (True, 0.5),
    ],
)
def test_an_entry_that_no_store_accepts_is_rejected(entry):
    with pytest.raises(InvalidResponseError):
        parse_response(answer([entry]), count=1, dimension=None, output="sparse")


def test_a_missing_sparse_vector_is_rejected():
    body = json.dumps({"output": {"embeddings": [{"text_index": 0, "embedding": [1.0]}]}}).encode()

    with pytest.raises(InvalidResponseError, match="no sparse vector"):
        parse_response(body, count=1, dimension=None, output="dense&sparse")


@given(ROWS)
def test_a_packed_vector_is_unpacked_unchanged(rows):
    assert [SparseRow.unpack(row.pack()) for row in rows] == rows


@given(ROWS)
def test_a_matrix_returns_its_rows_unchanged(rows):
    vectors = SparseVectors.of(rows)

    assert len(vectors) == len(rows)
    assert [(row.indices, row.values) for row in vectors] == [
        (row.indices, row.values) for row in rows
    ]
    assert vectors.rows() == [dict(zip(row.indices, row.values, strict=True)) for row in rows]


def test_a_row_gives_plain_dicts_and_lists():
    row = SparseRow((2, 7), (1.0, 0.5), ("the", "wind"))

    assert row.to_dict() == {2: 1.0, 7: 0.5}
    assert row.to_lists() == ([2, 7], [1.0, 0.5])
    assert SparseRow((), ()).to_dict() == {}
    assert SparseRow((), ()).to_lists() == ([], [])


def test_arrays_have_the_documented_types():
    vectors = SparseVectors.of([SparseRow((2, 7), (1.0, 0.5), ("the", "wind")), SparseRow((), ())])

    assert vectors.indptr.tolist() == [0, 2, 2]
    assert [each.dtype for each in (vectors.indptr, vectors.indices, vectors.values)] == [
        np.int64,
        np.int64,
        np.float32,
    ]
    assert vectors.tokens == ("the", "wind")


def test_scipy_gets_the_same_rows():
    vectors = SparseVectors.of([SparseRow((2, 7), (1.0, 0.5)), SparseRow((7,), (2.0,))])

    matrix = vectors.to_scipy()

    assert matrix.shape == (2, 8)
    assert (matrix @ matrix.T).toarray().tolist() == [[1.25, 1.0], [1.0, 4.0]]
    assert vectors.to_scipy(width=100).shape == (2, 100)


def test_shared_tokens_are_sorted_by_score_and_add_up_to_the_dot_product():
    query = SparseRow((1, 5, 9), (0.5, 1.0, 0.25), ("who", "tarts", "stole"))
    document = SparseRow((1, 2, 5, 9), (0.1, 0.3, 0.8, 0.9), ("who", "x", "tarts", "stole"))

    shared = shared_tokens(query, document)

    assert [each.token for each in shared] == ["tarts", "stole", "who"]
    assert sum(each.score for each in shared) == pytest.approx(0.8 + 0.225 + 0.05)
