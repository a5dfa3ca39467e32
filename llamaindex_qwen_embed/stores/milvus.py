"""Sparse vectors as LlamaIndex's Milvus store takes them: an instance of its own class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from llama_index.vector_stores.milvus.utils import BaseSparseEmbeddingFunction

if TYPE_CHECKING:
    from llamaindex_qwen_embed.sparse_embedding import QwenSparseEmbedding


class MilvusSparse(BaseSparseEmbeddingFunction):  # type: ignore[misc]  # the base comes without types
    """`QwenSparseEmbedding` for LlamaIndex's Milvus store."""

    def __init__(self, sparse: QwenSparseEmbedding) -> None:
        self._sparse = sparse

    def encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes: dicts from index to value, one a text."""
        return self._sparse.node_rows(documents)

    async def async_encode_documents(self, documents: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes: dicts from index to value, one a text."""
        return await self._sparse.anode_rows(documents)

    def encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Embed texts that find documents: dicts from index to value, one a text."""
        return [self._sparse.get_query_embedding(query) for query in queries]

    async def async_encode_queries(self, queries: list[str]) -> list[dict[int, float]]:
        """Embed texts that find documents: dicts from index to value, one a text."""
        return [await self._sparse.aget_query_embedding(query) for query in queries]
