"""A pipeline that embeds only new or changed texts."""

from __future__ import annotations

import pytest

from tests.support.example_output import run_offline, run_with_key

EXAMPLE = "ingestion_llamaindex"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("ingestion")


@pytest.fixture(scope="module")
def first(folder):
    return run_with_key(EXAMPLE, folder)


@pytest.fixture(scope="module")
def second(folder, first):
    return run_with_key(EXAMPLE, folder)


def test_only_new_or_changed_texts_are_sent(first):
    documents = first.texts("document")

    assert "First edition: 20 passages, 20 embedded, 20 stored" in first.output
    assert "The same: 20 passages, 0 embedded, 20 stored" in first.output
    assert "one added: 20 passages, 2 embedded, 20 stored" in first.output
    assert len(documents) == len(set(documents)) == 22
    added, changed = sorted(documents[20:])
    assert added == "《故乡》写于一九二一年一月。"
    assert changed.endswith("（完）")


def test_the_question_is_sent_once_as_a_query(first):
    assert first.texts("query") == ["谁套着银项圈？"]
    assert [len(request.body["input"]["texts"]) for request in first.requests] == [10, 10, 2, 1]
    assert "\n谁套着银项圈？ [nahan-0094] " in first.output


def test_texts_that_the_folder_has_cost_nothing(first, second):
    assert "First edition: 20 passages, 2 embedded, 20 stored" in second.output
    assert [len(request.body["input"]["texts"]) for request in second.requests] == [2, 2, 1]


def test_vectors_of_the_emulator_are_never_used_for_the_real_service(folder, first):
    output = run_offline(EXAMPLE, folder)

    assert "NOT Qwen's" in output
    assert "First edition: 20 passages, 20 embedded, 20 stored" in output
