"""Sparse vectors for LlamaIndex's Milvus store, which requires its own base class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction

if TYPE_CHECKING:
    from llamaindex_qwen_embed.vectors import NodeEncoder


class MilvusSparse(BaseSparseEmbeddingFunction):  # type: ignore[misc]  # the base has no types
    """`QwenSparseEmbedding` for LlamaIndex's Milvus store."""

    def __init__(self, encoder: NodeEncoder) -> None:
        self._encoder = encoder

    def encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes: one dict from index to value per text."""
        return self._encoder.node_rows(documents)

    async def async_encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes: one dict from index to value per text."""
        return await self._encoder.anode_rows(documents)

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Embed queries: one dict from index to value per text."""
        return [self._encoder.get_query_embedding(query) for query in queries]

    async def async_encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Embed queries: one dict from index to value per text."""
        return [await self._encoder.aget_query_embedding(query) for query in queries]
