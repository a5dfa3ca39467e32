"""An agent with long-term memory: what it remembers, and the requests that it sends."""

from __future__ import annotations

import pytest

from tests.support.example_output import run_offline, run_with_key

TOLD = ["I drink green tea.", "我对花生过敏。", "I drink coffee."]
ASKED = ["What do I drink?", "我对什么过敏？", "What is my drink?"]


@pytest.fixture(scope="module")
def run():
    return run_with_key("agent_memory")


def test_what_is_told_twice_goes_out_once_as_a_document(run):
    assert [run.output.count(f": {text}\n    Saved.") for text in TOLD] == [2, 2, 2]
    assert run.texts("document") == TOLD


def test_what_is_asked_goes_out_once_as_a_query(run):
    assert run.texts("query") == ASKED
    assert len(run.requests) == len(TOLD) + len(ASKED)


@pytest.mark.parametrize(
    ("user", "question", "answer"),
    [("ada", ASKED[0], TOLD[0]), ("ada", ASKED[1], TOLD[1]), ("bob", ASKED[2], TOLD[2])],
)
def test_a_user_is_answered_from_what_that_user_told(run, user, question, answer):
    assert f"{user}: {question}\n    {answer} [" in run.output


def test_it_runs_the_same_without_a_key(run):
    first, _, rest = run_offline("agent_memory").partition("\n")

    assert "NOT Qwen's" in first
    assert rest == run.output.partition("\n")[2]
