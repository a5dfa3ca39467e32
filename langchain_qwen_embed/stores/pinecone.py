"""Sparse vectors for Pinecone: dicts of indices and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_embed.vectors import SparseEncoder
    from qwen_embed.sparse import SparseVectors


@dataclass(frozen=True)
class PineconeSparse:
    """`QwenSparseEmbeddings` with Pinecone's dicts.

    Attributes:
        sparse: The object that embeds.
    """

    sparse: SparseEncoder

    def embed_documents(self, texts: list[str]) -> list[dict[str, Any]]:
        """Embed documents: one dict of `indices` and `values` per text."""
        return _dicts(self.sparse.encode(texts, "document"))

    async def aembed_documents(self, texts: list[str]) -> list[dict[str, Any]]:
        """Embed documents: one dict of `indices` and `values` per text."""
        return _dicts(await self.sparse.aencode(texts, "document"))

    def embed_query(self, text: str) -> dict[str, Any]:
        """Embed a query: a dict of `indices` and `values`."""
        return _dicts(self.sparse.encode([text], "query"))[0]

    async def aembed_query(self, text: str) -> dict[str, Any]:
        """Embed a query: a dict of `indices` and `values`."""
        return _dicts(await self.sparse.aencode([text], "query"))[0]


def _dicts(vectors: SparseVectors) -> list[dict[str, Any]]:
    return [
        {"indices": indices, "values": values}
        for indices, values in (row.to_lists() for row in vectors)
    ]
