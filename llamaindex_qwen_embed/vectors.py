"""Sparse vectors for LlamaIndex, and what the wrappers for vector stores need to make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from qwen_embed.sparse import SparseVectors

Encoded = tuple[list[list[int]], list[list[float]]]
"""The indices of each vector and the values of each, as LlamaIndex's Qdrant store takes them."""


class NodeEncoder(Protocol):
    """Embeds nodes and queries into sparse vectors: dicts from index to value."""

    def node_rows(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes."""

    async def anode_rows(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes."""

    def get_query_embedding(self, query: str) -> dict[int, float]:
        """Embed a query."""

    async def aget_query_embedding(self, query: str) -> dict[int, float]:
        """Embed a query."""


def encoded(vectors: SparseVectors) -> Encoded:
    """Return the indices and the values of sparse vectors, one list of each per vector."""
    lists = [row.to_lists() for row in vectors]
    return [indices for indices, _ in lists], [values for _, values in lists]
