"""Every embedding method of every class, and the vectors that it must return, in any format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from langchain_qwen_embed import QwenEmbeddings, QwenSparseEmbeddings
from llamaindex_qwen_embed import QwenEmbedding, QwenSparseEmbedding
from qwen_embed import QwenEmbedder
from qwen_embed.results import EmbeddingResult
from qwen_embed.sparse import SparseVectors
from qwen_embed.tokenizer import load_tokenizer
from tests.support.fingerprint_service import DEFAULT_DIMENSION, expected_dense, expected_sparse

Row = Any
"""A list if dense, a dict if sparse, a tuple if both, `None` if missing."""


class _LongText(str):
    """Its name is all that a report shows of it."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "LONG_TEXT"


LONG_TEXT = _LongText("the wind rises and we must try to live " * 1200)
LIMIT = 8192


@dataclass(frozen=True)
class Call:
    """One method by which users embed.

    Attributes:
        method: Its name; the async one begins with an a.
        role: The role of the texts.
        output: Which vectors it returns; `None` where the object's option `output` says it.
        single: Whether it takes one text.
        of_nodes: Whether the texts are those of LlamaIndex nodes.
    """

    method: str
    role: str
    output: str | None
    single: bool = False
    of_nodes: bool = False

    def __repr__(self) -> str:
        return self.method


CALLS: Mapping[type, Sequence[Call]] = {
    QwenEmbeddings: (
        Call("embed_documents", "document", "dense"),
        Call("embed_query", "query", "dense", single=True),
        Call("embed_both", "document", "dense&sparse"),
        Call("embed_query_both", "query", "dense&sparse", single=True),
    ),
    QwenSparseEmbeddings: (
        Call("embed_documents", "document", "sparse"),
        Call("embed_query", "query", "sparse", single=True),
    ),
    QwenEmbedding: (
        Call("get_text_embedding_batch", "document", "dense"),
        Call("get_text_embedding", "document", "dense", single=True),
        Call("get_query_embedding", "query", "dense", single=True),
    ),
    QwenSparseEmbedding: (
        Call("encode_documents", "document", "sparse"),
        Call("encode_queries", "query", "sparse"),
        Call("get_text_embedding_batch", "document", "sparse"),
        Call("get_text_embedding", "document", "sparse", single=True),
        Call("get_query_embedding", "query", "sparse", single=True),
        Call("node_rows", "document", "sparse", of_nodes=True),
    ),
    QwenEmbedder: (
        Call("embed_documents", "document", None),
        Call("embed_queries", "query", None),
        Call("embed_query", "query", None, single=True),
    ),
}


@dataclass(frozen=True)
class Made:
    """An embedding object and the options that it was made with.

    Attributes:
        it: The object.
        options: Those that its rows depend on, and others.
    """

    it: Any
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def calls(self) -> Sequence[Call]:
        output = self.options.get("output", "dense")
        return [replace(call, output=call.output or output) for call in CALLS[type(self.it)]]

    def run(self, call: Call, texts: Sequence[str]) -> list[Row]:
        """Embed, and return the vectors."""
        return _rows(call, getattr(self.it, call.method)(_argument(call, texts)))

    async def arun(self, call: Call, texts: Sequence[str]) -> list[Row]:
        """Embed from async code, and return the vectors."""
        return _rows(call, await getattr(self.it, f"a{call.method}")(_argument(call, texts)))

    def expected(self, call: Call, text: str) -> Row:
        """Return the correct vector of a text."""
        dense, sparse = self._dense(call.role, text), self._sparse(call.role, text)
        return {"dense": dense, "sparse": sparse, "dense&sparse": (dense, sparse)}[call.output]

    def _dense(self, role: str, text: str) -> list[float]:
        dimension = self.options.get("dimension")
        if not text.strip():
            return [0.0] * (dimension or DEFAULT_DIMENSION)
        instruct = self.options.get("instruct") if role == "query" else None
        chunks = self._chunks(text)
        vectors = [
            expected_dense(chunk, role, instruct=instruct, dimension=dimension).astype(np.float64)
            for chunk, _ in chunks
        ]
        row = np.average(vectors, axis=0, weights=[tokens for _, tokens in chunks])
        unit = self.options.get("normalize") or len(chunks) > 1
        return (row / np.linalg.norm(row) if unit else row).tolist()

    def _sparse(self, role: str, text: str) -> dict[int, float]:
        instruct = self.options.get("instruct") if role == "query" else None
        row: dict[int, float] = {}
        for chunk, _ in self._chunks(text) if text.strip() else ():
            for index, value in expected_sparse(chunk, role, instruct=instruct).items():
                row[index] = max(value, row.get(index, 0.0))
        return row

    def _chunks(self, text: str) -> list[tuple[str, int]]:
        how = self.options.get("long_text", "error")
        if text != LONG_TEXT or how == "error":
            return [(text, 1)]
        return _split(text)[: 1 if how == "truncate" else None]


@lru_cache
def _split(text: str) -> list[tuple[str, int]]:
    return list(load_tokenizer().split(text, LIMIT))


def _argument(call: Call, texts: Sequence[str]) -> Any:
    return texts[0] if call.single else list(texts)


def _rows(call: Call, returned: Any) -> list[Row]:
    if call.method.startswith("encode"):
        return [dict(zip(*row, strict=True)) for row in zip(*returned, strict=True)]
    if call.single and not isinstance(returned, EmbeddingResult):
        return [_row(returned)]
    return rows_of(returned)


def rows_of(result: Any) -> list[Row]:
    """Return one vector per text from the value of a call, or from the `result` of an error."""
    if isinstance(result, EmbeddingResult):
        dense = None if result.dense is None else [_row(row) for row in result.dense]
        sparse = None if result.sparse is None else result.sparse.rows()
        return list(zip(dense, sparse, strict=True)) if dense and sparse else dense or sparse or []
    if isinstance(result, SparseVectors):
        return list(result.rows())
    if isinstance(result, tuple):
        return list(zip(*map(rows_of, result), strict=True))
    return [_row(row) for row in result]


def _row(row: Any) -> Row:
    if isinstance(row, np.ndarray):
        return None if np.isnan(row).any() else row.tolist()
    if hasattr(row, "indices"):
        return dict(zip(row.indices, row.values, strict=True))
    return row


def is_missing(row: Row) -> bool:
    """Return whether a vector marks a failed text; sparse vectors of blank texts look the same."""
    return row[0] is None if isinstance(row, tuple) else not row


def agree(row: Row, expected: Row) -> bool:
    """Return whether a vector is the expected one, up to float32 rounding."""
    if isinstance(expected, tuple):
        return all(map(agree, row, expected))
    if isinstance(expected, dict) or row is None:
        return bool(row == expected)
    return len(row) == len(expected) and np.allclose(row, expected, rtol=1e-5, atol=1e-7)
