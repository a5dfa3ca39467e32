"""The programs of docs/migrating.md, each run with its original class and with ours."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path

import numpy as np
import pytest

from qwen_embed.emulator import Emulator
from qwen_embed.errors import QueryRoleWarning
from tests.support.interfaces import API_KEY

PAGE = (Path(__file__).parents[2] / "docs" / "migrating.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(
    r"```python\n((?:(?!```).)*)```\n\n```diff\n-(.*?)\n\+(.*?)\n```", PAGE, re.DOTALL
)
ORIGINS = ["dashscope", "llamaindex-dashscope", "openai", "self-hosted", "llamaindex-openai-like"]


@pytest.fixture
def self_hosted():
    with Emulator(backend="vllm") as server:
        yield server


@pytest.fixture
def run(service, self_hosted, monkeypatch):
    """Run a program with the addresses of emulators in place of its own."""
    dashscope = pytest.importorskip("dashscope")
    monkeypatch.setattr(dashscope, "api_key", None)
    monkeypatch.setattr(dashscope, "base_http_api_url", service.native_url)
    addresses = {
        "https://dashscope-intl.aliyuncs.com/api/v1": service.native_url,
        "https://dashscope-intl.aliyuncs.com/compatible-mode/v1": service.openai_url,
        "http://127.0.0.1:8000/v1": self_hosted.openai_url,
    }

    def run(program):
        for named, address in addresses.items():
            program = program.replace(named, address)
        names = {"API_KEY": API_KEY}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", QueryRoleWarning)
            exec(compile(program, "docs/migrating.md", "exec"), names)  # noqa: S102 -- our own page
        return np.array(names["documents"]), np.array(names["query"])

    return run


def swapped(place):
    program, before, after = PROGRAMS[place]
    assert program.count(before) == 1
    return program, program.replace(before, after)


def test_every_origin_has_a_program():
    assert len(PROGRAMS) == len(ORIGINS)


@pytest.mark.parametrize("place", range(len(ORIGINS)), ids=ORIGINS)
def test_a_program_with_one_changed_import_gets_the_same_document_vectors(run, place):
    before, after = swapped(place)

    theirs, ours = run(before)[0], run(after)[0]

    assert np.allclose(theirs, ours, atol=1e-6)


@pytest.mark.parametrize("place", [0, 2], ids=["dashscope", "openai"])
def test_query_vectors_stay_the_same_if_they_were_right_or_the_protocol_has_no_roles(run, place):
    before, after = swapped(place)

    assert np.allclose(run(before)[1], run(after)[1], atol=1e-6)


@pytest.mark.parametrize("place", [1], ids=["llamaindex-dashscope"])
def test_queries_that_were_sent_as_documents_are_sent_as_queries(run, service, place):
    before, after = swapped(place)

    run(before)
    theirs = service.requests[-1].body["parameters"]
    run(after)
    ours = service.requests[-1].body["parameters"]

    assert theirs.get("text_type", "document") == "document"
    assert ours["text_type"] == "query"


@pytest.mark.parametrize("place", [3, 4], ids=["self-hosted", "llamaindex-openai-like"])
def test_queries_of_open_weight_models_are_sent_in_their_template(run, self_hosted, place):
    before, after = swapped(place)

    run(before)
    theirs = self_hosted.requests[-1].body["input"]
    run(after)
    ours = self_hosted.requests[-1].body["input"]

    assert theirs == ["What does the wind do?"]
    assert ours == [
        "Instruct: Given a web search query, retrieve relevant passages that answer the query\n"
        "Query:What does the wind do?"
    ]


LONGER = (
    ('["The wind rises.", "Who stole the tarts?"]', "[f'text {n}' for n in range(30)]"),
    ("    chunk_size=10,\n", ""),
)


def longer(program):
    for short, long in LONGER:
        program = program.replace(short, long)
    return program


@pytest.mark.parametrize("place", range(len(ORIGINS)), ids=ORIGINS)
def test_with_our_class_one_rejected_text_fails_alone(run, service, self_hosted, place):
    for server in (service, self_hosted):
        server.fail_next(1, status=429, code="Throttling.RateQuota", headers={"Retry-After": "0"})

    documents, _ = run(longer(swapped(place)[1]))

    assert documents.shape[0] == 30


@pytest.mark.parametrize(
    ("place", "fault"),
    [
        (0, {"status": 400, "code": "DataInspectionFailed", "message": "inappropriate"}),
        (1, {"status": 429, "code": "Throttling.RateQuota"}),
    ],
    ids=["dashscope", "llamaindex-dashscope"],
)
def test_with_theirs_it_costs_vectors(run, service, place, fault, caplog):
    caplog.set_level(logging.CRITICAL)
    service.fail_next(1, **fault)

    try:
        documents, _ = run(longer(swapped(place)[0]))
    except Exception:
        kept = 0
    else:
        kept = len(documents)

    assert kept < 30


def test_openais_class_sends_too_many_texts_per_request_by_default(run):
    before, after = swapped(2)

    with pytest.raises(Exception, match="should not be larger than 10"):
        run(longer(before))
    assert run(longer(after))[0].shape == (30, 512)
