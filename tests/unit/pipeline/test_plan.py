"""Texts checked, duplicates dropped, requests cut."""

from __future__ import annotations

import enum
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen_embed.errors import InputError
from qwen_embed.pipeline.batching import BatchQueue, estimate_tokens
from qwen_embed.pipeline.plan import Plan, plan_texts

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))


def test_texts_without_duplicates_are_planned_as_they_are():
    texts = ["a", "b"]

    plan = plan_texts(texts)

    assert plan == Plan(unique=texts, sources=None, count=2)


@given(TEXTS)
def test_every_text_keeps_its_place(texts):
    texts = [text for text in texts if not text.isspace()]

    plan = plan_texts(texts)

    sources = plan.sources if plan.sources is not None else range(len(texts))
    assert [plan.unique[source] for source in sources] == texts
    assert max(Counter(plan.unique).values(), default=1) == 1


@pytest.mark.parametrize("texts", [("a", "b"), (text for text in "ab"), np.array(["a", "b"])])
def test_anything_ordered_that_gives_str_is_taken(texts):
    plan = plan_texts(texts)
    assert plan.unique == ["a", "b"]
    assert [type(text) for text in plan.unique] == [str, str]


def test_a_str_of_a_subclass_is_sent_as_the_characters_it_holds():
    class Colour(str, enum.Enum):
        RED = "red"

    assert plan_texts([Colour.RED]).unique == ["red"]


@pytest.mark.parametrize("texts", ["a str", b"bytes", 5, None, {"a": 1}, {"a"}, object()])
def test_what_is_no_list_is_refused(texts):
    with pytest.raises(InputError, match="texts must be a list of str"):
        plan_texts(texts)


def test_all_faults_are_told_at_once():
    with pytest.raises(InputError) as caught:
        plan_texts(["a", None, " ", "\udc00", 1])

    assert caught.value.indices == (1, 2, 3, 4)
    message = str(caught.value)
    for part in (
        "texts[1]: NoneType",
        "texts[2]: empty",
        "texts[3]: an unpaired surrogate",
        "texts[4]: int",
    ):
        assert part in message


def test_many_faults_are_counted_rather_than_listed():
    with pytest.raises(InputError, match="and 980 more") as caught:
        plan_texts([""] * 1000)
    assert caught.value.indices == tuple(range(1000))


def test_blank_texts_are_left_out_where_they_get_zeros():
    assert plan_texts(["", "a", "\t"], empty_text="zero") == Plan(
        unique=["a"], sources=[-1, 0, -1], count=3
    )


def test_an_estimate_of_tokens_counts_bytes():
    assert [estimate_tokens(text) for text in ("", "abc", "abcd", "风", "风起")] == [0, 1, 2, 1, 2]


@given(st.integers(0, 100), st.integers(1, 30))
def test_a_queue_gives_every_text_once_in_full_requests(count, cap):
    queue = BatchQueue(["x"] * count, range(count))

    batches = list(iter(lambda: queue.take(cap), None))

    assert [index for batch in batches for index in batch] == list(range(count))
    assert all(len(batch) == cap for batch in batches[:-1])


@given(st.lists(st.text("ab", max_size=40), min_size=1), st.integers(1, 12))
def test_a_queue_keeps_to_its_token_budget(texts, max_tokens):
    queue = BatchQueue(texts, range(len(texts)), max_tokens)

    batches = list(iter(lambda: queue.take(10), None))

    assert [index for batch in batches for index in batch] == list(range(len(texts)))
    for batch in batches:
        tokens = sum(estimate_tokens(texts[index]) for index in batch)
        assert tokens <= max_tokens or len(batch) == 1


def test_texts_put_back_are_cut_anew_with_those_that_follow():
    queue = BatchQueue(["x"] * 6, range(6))
    first = queue.take(4)
    queue.put_back(first)

    assert [queue.take(3), queue.take(3), queue.take(3)] == [[0, 1, 2], [3, 4, 5], None]


def test_a_request_that_is_sent_first_holds_nothing_else():
    queue = BatchQueue(["x"] * 3, range(3))
    queue.send_first([7])

    assert [queue.take(10), queue.take(10)] == [[7], [0, 1, 2]]


def test_halves_are_sent_apart_and_first():
    queue = BatchQueue(["x"] * 7, range(7))
    queue.halve(queue.take(5))

    assert [queue.take(10), queue.take(10), queue.take(10)] == [[0, 1], [2, 3, 4], [5, 6]]
