"""LangChain's cache on disk: no text is sent twice, and queries stay queries."""

from __future__ import annotations

import pytest

from tests.support.example_output import run_offline, run_with_key

EXAMPLE = "cache_backed_langchain"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def first(folder):
    return run_with_key(EXAMPLE, folder)


def test_each_text_goes_out_once_in_its_role(first):
    documents = first.texts("document")

    assert "417 passages, 417 of them embedded, in 42 requests." in first.output
    assert len(documents) == len(set(documents)) == 417
    assert len(first.texts("query")) == 4
    assert len(first.requests) == 42 + 4


def test_each_question_finds_the_passage_that_answers_it(first):
    for answer in ("alice-0178", "alice-0102", "nahan-0095", "nahan-0039"):
        assert f"  {answer}  " in first.output
    assert first.output.count("\n *") == 4


def test_a_second_run_sends_nothing_and_finds_the_same(folder, first):
    second = run_with_key(EXAMPLE, folder)

    assert second.requests == []
    assert "417 passages, 0 of them embedded, in 0 requests." in second.output
    found = [line for line in first.output.splitlines() if line.startswith((" *", "  "))]
    assert found == [line for line in second.output.splitlines() if line.startswith((" *", "  "))]


def test_vectors_of_the_emulator_are_never_used_for_the_real_service(folder, first):
    output = run_offline(EXAMPLE, folder)

    assert "NOT Qwen's" in output
    assert "417 passages, 417 of them embedded, in 42 requests." in output
