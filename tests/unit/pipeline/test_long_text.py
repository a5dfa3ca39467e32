"""What is sent in place of a long text, and one row from the rows of its chunks."""

from __future__ import annotations

import numpy as np
import pytest

from qwen_embed.errors import TextRejectedError
from qwen_embed.pipeline.collectors import ArrayCollector, ListCollector
from qwen_embed.pipeline.long_text import ChunkCollector, Chunks, TextSplitter, average
from qwen_embed.pipeline.plan import plan_texts
from qwen_embed.protocols.base import ParsedResponse
from qwen_embed.sparse import SparseRow
from qwen_embed.tokenizer import load_tokenizer

LIMIT = 20
LONG = "the wind will rise over cold hills " * 5  # 35 words, and a blank at the end


def dense(*rows):
    return ParsedResponse(dense=[list(row) for row in rows], tokens=0, request_id=None)


def chunks_of(*texts, all_chunks=True, limit=LIMIT):
    return Chunks(dict(enumerate(texts)), TextSplitter(limit, all_chunks))


@pytest.mark.parametrize(
    ("long_text", "limit", "cutter"),
    [
        ("error", 8192, None),
        ("truncate", None, None),
        ("average", None, None),
        ("truncate", 8192, TextSplitter(8192, all_chunks=False)),
        ("average", 8192, TextSplitter(8192, all_chunks=True)),
    ],
)
def test_texts_are_cut_as_the_option_says_where_a_limit_is_known(long_text, limit, cutter):
    assert TextSplitter.of(long_text, limit) == cutter


def test_texts_that_fit_are_sent_as_they_are():
    assert chunks_of("a", "b").sent == ["a", "b"]


def test_only_the_beginning_of_a_long_text_is_sent():
    chunks = chunks_of("a", LONG, all_chunks=False)

    [first, _] = load_tokenizer().split(LONG, LIMIT)
    assert chunks.sent == ["a", first[0]]


def test_every_part_of_a_long_text_is_sent():
    chunks = chunks_of("a", LONG)

    assert "".join(chunks.sent[1:]) == LONG
    assert [chunks.positions_of(text) for text in (0, 1)] == [[0], [1, 2]]
    assert chunks.tokens_at(1) == LIMIT


def test_equal_parts_are_sent_once_and_have_their_weight_wherever_the_text_stands():
    same = "12345678901234567890"

    chunks = chunks_of(same, same * 2, same * 4)

    assert chunks.sent == [same]
    assert [chunks.positions_of(text) for text in range(3)] == [[0], [0, 0], [0] * 4]
    assert chunks.tokens_at(0) == LIMIT


@pytest.mark.parametrize("all_chunks", [True, False])
def test_blank_parts_are_not_sent(all_chunks):
    chunks = chunks_of("\n " * 200 + "wind", all_chunks=all_chunks)

    assert [part.strip() for part in chunks.sent] == ["wind"]


def test_a_beginning_that_is_refused_gets_shorter_by_tenths_down_to_half_the_limit():
    text = "the wind will rise over cold hills " * 50
    chunks = chunks_of(text, all_chunks=False, limit=200)
    tokens = []
    place = 0

    while place is not None:
        tokens.append(chunks.tokens_at(place))
        place = next(iter(chunks.replace_rejected(place)), None)

    assert tokens == [200, 180, 162, 145, 130, 117, 105, 94]
    assert all(text.startswith(sent) for sent in chunks.sent)
    assert chunks.positions_of(0) == [7]


def test_a_part_that_is_refused_is_halved_once_for_all_texts():
    chunks = chunks_of(LONG, LONG + "again")
    assert chunks.positions_of(0)[0] == chunks.positions_of(1)[0] == 0

    halves = chunks.replace_rejected(0)

    assert [chunks.tokens_at(place) for place in halves] == [10, 10]
    assert "".join(chunks.sent[place] for place in chunks.positions_of(0)) == LONG
    assert chunks.positions_of(1)[:2] == halves
    assert chunks.replace_rejected(halves[0]) == []


def test_a_short_text_that_is_refused_is_not_cut():
    assert chunks_of("a", LONG).replace_rejected(0) == []


def test_a_text_fails_with_the_error_of_its_first_part_that_did():
    chunks = chunks_of("a", LONG, "b")
    first, second = TextRejectedError("first"), TextRejectedError("second")

    assert chunks.failures({2: second, 1: first}) == {1: first}
    assert chunks.failures({}) == {}


def test_a_mean_is_weighted_and_has_unit_length():
    row = average([dense([1.0, 0.0]), dense([0.0, 1.0])], [3, 4]).dense[0]

    assert row == pytest.approx([0.6, 0.8])
    assert isinstance(row, list)


def test_a_mean_of_opposites_is_zero_rather_than_nan():
    assert average([dense([1.0, 0.0]), dense([-1.0, 0.0])], [1, 1]).dense == [[0.0, 0.0]]


def test_the_row_of_a_single_part_is_not_scaled():
    assert average([dense([3.0, 4.0])], [0]).dense == [[3.0, 4.0]]


def test_a_sparse_row_has_the_largest_value_of_each_index():
    rows = [SparseRow((2, 7), (1.0, 0.5), ("the", "wind")), SparseRow((7, 9), (0.75, 0.25))]

    answer = average([ParsedResponse([], 0, None, sparse=[row]) for row in rows], [1, 100])

    assert answer.sparse == [SparseRow((2, 7, 9), (1.0, 0.75, 0.25), ("the", "", ""))]
    assert answer.dense == []


def test_rows_of_parts_may_come_in_any_order():
    chunks = chunks_of("a", LONG, "b")
    lists = ListCollector(3, False)
    rows = ChunkCollector(lists, chunks)

    rows.put([3, 2], dense([5.0, 5.0], [0.0, 1.0]))
    rows.put([1, 0], dense([1.0, 0.0], [7.0, 7.0]))

    [a, long, b] = rows.result(plan_texts(["a", LONG, "b"]), 2)
    weights = np.array([chunks.tokens_at(1), chunks.tokens_at(2)])
    assert (a, b) == ([7.0, 7.0], [5.0, 5.0])
    assert long == pytest.approx((weights / np.linalg.norm(weights)).tolist())


def test_a_text_of_which_a_part_never_came_has_no_row():
    lists, array = ListCollector(2, False), ArrayCollector(2, False)
    plan = plan_texts(["a", LONG])
    for rows in (lists, array):
        ChunkCollector(rows, chunks_of("a", LONG)).put([0, 1], dense([1.0], [2.0]))

    assert lists.result(plan, 1) == [[1.0], None]
    assert np.isnan(array.result(plan, 1)[:, 0]).tolist() == [False, True]


def test_texts_that_begin_alike_have_rows_of_their_own():
    texts = [LONG, LONG + "again"]
    rows = ChunkCollector(ListCollector(2, False), chunks_of(*texts, all_chunks=False))

    rows.put([0], dense([1.0]))

    [one, other] = rows.result(plan_texts(texts), 1)
    assert one == other
    assert one is not other
