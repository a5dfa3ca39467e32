"""Sparse vectors for LangChain, and what the wrappers for vector stores need to make them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_qwen_embed.options import LangChainFields
from qwen_embed.base import BaseSparseEmbedder
from qwen_embed.types import TextType

if TYPE_CHECKING:
    from qwen_embed.sparse import SparseVectors


@dataclass(frozen=True)
class SparseVector:
    """One sparse vector, with the attributes that langchain-qdrant reads.

    Attributes:
        indices: Unique and ascending.
        values: One for each index.
    """

    indices: list[int]
    values: list[float]


class SparseEncoder(LangChainFields, BaseSparseEmbedder):
    """Embeds texts into the core's sparse vectors, which each store's wrapper converts."""

    def encode(self, texts: list[str], text_type: TextType) -> SparseVectors:
        """Embed texts as documents or as queries.

        Args:
            texts: Any number of texts.
            text_type: "document" or "query".

        Returns:
            One sparse vector per text, in the order of `texts`.

        Raises:
            QwenEmbedError: As from `QwenSparseEmbeddings.embed_documents`.
        """
        return self._sparse(texts, text_type)

    async def aencode(self, texts: list[str], text_type: TextType) -> SparseVectors:
        """Embed texts as documents or as queries; see `encode`."""
        return await self._asparse(texts, text_type)
