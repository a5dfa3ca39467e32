"""An agent with query engines as tools: the requests that it sends."""

from __future__ import annotations

import pytest

from tests.support.example_output import run_offline, run_with_key

QUESTIONS = ["Who stole the tarts?", "闰土怎样在雪地里捕鸟？"]


@pytest.fixture(scope="module")
def run():
    return run_with_key("agent_llamaindex")


def test_two_tools_over_one_index_cost_one_embedding_of_each_passage(run):
    documents = run.texts("document")

    assert len(documents) == len(set(documents)) == 417


def test_each_question_goes_out_once_as_a_query(run):
    assert run.texts("query") == QUESTIONS
    assert len(run.requests) == 42 + 2


@pytest.mark.parametrize(
    ("question", "book", "source"),
    [(QUESTIONS[0], "alice", "alice-0178"), (QUESTIONS[1], "nahan", "nahan-0095")],
)
def test_the_agent_asks_the_right_book_and_keeps_the_source(run, question, book, source):
    below = run.output.partition(f"\n{question}\n")[2].partition("\n\n")[0]

    assert f"asked {book}, found ['{source}', " in below
    assert below.endswith(f"[{source}]")


def test_it_runs_the_same_without_a_key(run):
    first, _, rest = run_offline("agent_llamaindex").partition("\n")

    assert "NOT Qwen's" in first
    assert rest == run.output.partition("\n")[2]
