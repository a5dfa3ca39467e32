"""Sparse vectors as Pinecone takes them: dicts of indices and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_embed.sparse_embeddings import QwenSparseEmbeddings, SparseVector


@dataclass(frozen=True)
class PineconeSparse:
    """`QwenSparseEmbeddings` with Pinecone's dicts.

    Attributes:
        sparse: The object that embeds.
    """

    sparse: QwenSparseEmbeddings

    def embed_documents(self, texts: list[str]) -> list[dict[str, Any]]:
        """Embed texts that are to be found: dicts of `indices` and `values`, one a text."""
        return [_row(vector) for vector in self.sparse.embed_documents(texts)]

    async def aembed_documents(self, texts: list[str]) -> list[dict[str, Any]]:
        """Embed texts that are to be found: dicts of `indices` and `values`, one a text."""
        return [_row(vector) for vector in await self.sparse.aembed_documents(texts)]

    def embed_query(self, text: str) -> dict[str, Any]:
        """Embed one text that finds documents: a dict of `indices` and `values`."""
        return _row(self.sparse.embed_query(text))

    async def aembed_query(self, text: str) -> dict[str, Any]:
        """Embed one text that finds documents: a dict of `indices` and `values`."""
        return _row(await self.sparse.aembed_query(text))


def _row(vector: SparseVector) -> dict[str, Any]:
    return {"indices": list(vector.indices), "values": list(vector.values)}
