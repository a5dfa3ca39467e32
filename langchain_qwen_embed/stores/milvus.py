"""Sparse vectors as langchain-milvus takes them: an instance of its own class, rows as dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_milvus.utils.sparse import BaseSparseEmbedding

if TYPE_CHECKING:
    from langchain_qwen_embed.sparse_embeddings import QwenSparseEmbeddings, SparseVector


class MilvusSparse(BaseSparseEmbedding):  # type: ignore[misc]  # the base comes without types
    """`QwenSparseEmbeddings` for langchain-milvus."""

    def __init__(self, sparse: QwenSparseEmbeddings) -> None:
        self._sparse = sparse

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed texts that are to be found: dicts from index to value, one a text."""
        return [_row(vector) for vector in self._sparse.embed_documents(texts)]

    async def aembed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed texts that are to be found: dicts from index to value, one a text."""
        return [_row(vector) for vector in await self._sparse.aembed_documents(texts)]

    def embed_query(self, query: str) -> dict[int, float]:
        """Embed one text that finds documents: a dict from index to value."""
        return _row(self._sparse.embed_query(query))

    async def aembed_query(self, query: str) -> dict[int, float]:
        """Embed one text that finds documents: a dict from index to value."""
        return _row(await self._sparse.aembed_query(query))


def _row(vector: SparseVector) -> dict[int, float]:
    return dict(zip(vector.indices, vector.values, strict=True))
