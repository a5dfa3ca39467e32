"""The stub chat model of the examples."""

from __future__ import annotations

import pytest

from tests.support.example_output import EXAMPLES

PASSAGES = """Answer from these.

[a-1] The cat slept. 'The Queen made tarts!' she said.

[b-2] 闰土捉住了一只鸟。天黑了！

Question: """


@pytest.fixture
def quote(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)
    from support.quoting import quote  # noqa: PLC0415 -- found only while the path is patched

    return quote


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who made the tarts?", "'The Queen made tarts! [a-1]"),
        ("Who slept?", "The cat slept. [a-1]"),
        ("闰土捉住了什么？", "闰土捉住了一只鸟。 [b-2]"),
    ],
)
def test_the_sentence_that_shares_most_is_quoted_with_its_source(quote, question, answer):
    assert quote(PASSAGES + question) == answer


@pytest.mark.parametrize("prompt", [PASSAGES + "Where is Paris?", "Question: Who slept?", ""])
def test_it_says_so_where_no_sentence_fits(quote, prompt):
    assert quote(prompt) == "I do not know."
