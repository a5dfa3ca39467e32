"""Answers with their sources, through either framework: the requests that they take."""

from __future__ import annotations

import re

import pytest

from tests.support.example_output import run_offline, run_with_key

QUESTIONS = {
    "Who stole the tarts?": "alice-0178",
    "What remained of the cat after it had vanished?": "alice-0102",
    "闰土怎样在雪地里捕鸟？": "nahan-0095",
    "孔乙己偷了谁家的东西被打断了腿？": "nahan-0039",
}


@pytest.fixture(scope="module", params=["rag_langchain", "rag_llamaindex"])
def example(request):
    return request.param


@pytest.fixture(scope="module")
def run(example):
    return run_with_key(example)


def test_each_passage_is_sent_once_as_a_document(run):
    documents = run.texts("document")

    assert len(documents) == len(set(documents)) == 417


def test_each_question_is_sent_once_as_a_query_with_the_instruction(run):
    assert sorted(run.texts("query")) == sorted(QUESTIONS)
    parameters = [request.body["parameters"] for request in run.requests]
    assert [each["text_type"] for each in parameters if "instruct" in each] == ["query"] * 4


def test_it_sends_as_few_requests_as_the_service_allows(run):
    assert "417 passages in 42 requests." in run.output
    assert len(run.requests) == 42 + 4


@pytest.mark.parametrize(("question", "source"), QUESTIONS.items())
def test_an_answer_names_a_source_that_was_found(run, question, source):
    _, _, below = run.output.partition(f"\n{question}\n")
    answer, *found = re.split(r"^    - (\S+): .+\n", below.partition("\n\n")[0], flags=re.MULTILINE)

    assert re.search(r"\[(\S+)\]\s*$", answer)[1] == source
    assert source in found


def test_it_runs_the_same_without_a_key(example, run):
    first, _, rest = run_offline(example).partition("\n")

    assert "NOT Qwen's" in first
    assert rest == run.output.partition("\n")[2]
