"""Collector gathered into lists and into an array."""

from __future__ import annotations

import numpy as np
import pytest

from qwen_embed.errors import InvalidResponseError
from qwen_embed.pipeline.collectors import ArrayCollector, ListCollector, SparseCollector
from qwen_embed.pipeline.plan import plan_texts
from qwen_embed.protocols.base import ParsedResponse
from qwen_embed.sparse import SparseRow

FORMS = [ListCollector, ArrayCollector]


def dense(rows):
    return ParsedResponse(dense=rows, tokens=0, request_id=None)


def as_lists(rows):
    return [None if row is None else list(row) for row in rows]


@pytest.mark.parametrize("form", FORMS)
def test_rows_come_out_in_order_whatever_order_they_came_in(form):
    rows = form(3, False)
    rows.put([2, 0], dense([[3.0], [1.0]]))
    rows.put([1], dense([[2.0]]))

    assert as_lists(rows.result(plan_texts(["a", "b", "c"]), None)) == [[1.0], [2.0], [3.0]]


@pytest.mark.parametrize("form", FORMS)
def test_duplicates_and_blanks_get_their_rows(form):
    rows = form(2, False)
    rows.put([0, 1], dense([[1.0, 2.0], [3.0, 4.0]]))
    plan = plan_texts(["a", "", "b", "a"], empty_text="zero")

    assert as_lists(rows.result(plan, 2)) == [[1.0, 2.0], [0.0, 0.0], [3.0, 4.0], [1.0, 2.0]]


@pytest.mark.parametrize("form", FORMS)
def test_rows_are_scaled_to_unit_length_and_zeros_stay_zeros(form):
    rows = form(2, True)
    rows.put([0, 1], dense([[3.0, 4.0], [0.0, 0.0]]))

    result = rows.result(plan_texts(["a", "b"]), 2)

    assert np.allclose(result, [[0.6, 0.8], [0.0, 0.0]])


def test_a_row_that_never_came_is_none_in_lists_and_nan_in_an_array():
    plan = plan_texts(["a", "b"])
    lists, array = ListCollector(2, False), ArrayCollector(2, False)
    for rows in (lists, array):
        rows.put([1], dense([[1.0, 2.0]]))

    assert lists.result(plan, 2) == [None, [1.0, 2.0]]
    assert np.isnan(array.result(plan, 2)[0]).all()


def test_lists_are_handed_through_as_they_were_parsed():
    row = [1.0, 2.0]
    rows = ListCollector(1, False)
    rows.put([0], dense([row]))

    assert rows.result(plan_texts(["a"]), 2)[0] is row


def test_an_array_is_float32_of_n_by_dimension():
    rows = ArrayCollector(1, False)
    rows.put([0], dense([[0.1, 0.2]]))

    result = rows.result(plan_texts(["a"]), 2)

    assert (result.shape, result.dtype) == ((1, 2), np.float32)


@pytest.mark.parametrize(
    ("form", "empty"), [(ListCollector, []), (ArrayCollector, np.zeros((0, 4)))]
)
def test_no_texts_give_no_rows(form, empty):
    result = form(0, False).result(plan_texts([]), 4)

    assert np.array_equal(result, empty)


def test_sparse_rows_of_duplicates_blanks_and_failures():
    rows = SparseCollector(3)
    wind = SparseRow((2, 7), (1.0, 0.5), ("the", "wind"))
    rows.put([0], ParsedResponse([], 0, None, sparse=[wind]))
    plan = plan_texts(["a", "", "b", "a", "c"], empty_text="zero")

    result = rows.result(plan, None)

    assert result.rows() == [{2: 1.0, 7: 0.5}, {}, {}, {2: 1.0, 7: 0.5}, {}]
    assert result.tokens == ("the", "wind", "the", "wind")


def test_a_number_that_float32_cannot_hold_is_no_row():
    rows = ArrayCollector(1, False)

    with pytest.raises(InvalidResponseError, match="float32"):
        rows.put([0], ParsedResponse(dense=[[1.0, 1e39]], tokens=1, request_id=None))
