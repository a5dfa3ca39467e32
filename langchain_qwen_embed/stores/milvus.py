"""Sparse vectors for langchain-milvus, which requires its own base class and takes dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_milvus.utils.sparse import BaseSparseEmbedding

if TYPE_CHECKING:
    from langchain_qwen_embed.vectors import SparseEncoder


class MilvusSparse(BaseSparseEmbedding):  # type: ignore[misc]  # the base has no types
    """`QwenSparseEmbeddings` for langchain-milvus."""

    def __init__(self, encoder: SparseEncoder) -> None:
        self._encoder = encoder

    def embed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed documents: one dict from index to value per text."""
        return self._encoder.encode(texts, "document").rows()

    async def aembed_documents(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed documents: one dict from index to value per text."""
        return (await self._encoder.aencode(texts, "document")).rows()

    def embed_query(self, query: str) -> dict[int, float]:
        """Embed a query: a dict from index to value."""
        return self._encoder.encode([query], "query").rows()[0]

    async def aembed_query(self, query: str) -> dict[int, float]:
        """Embed a query: a dict from index to value."""
        return (await self._encoder.aencode([query], "query")).rows()[0]
