"""Sparse vectors for chromadb: a registered class of its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chromadb import SparseEmbeddingFunction, SparseVector
from chromadb.utils.embedding_functions import register_sparse_embedding_function

from langchain_qwen_embed.vectors import SparseEncoder

if TYPE_CHECKING:
    from qwen_embed.sparse import SparseRow


@register_sparse_embedding_function
class ChromaSparse(SparseEmbeddingFunction):  # type: ignore[misc]  # the base has no types
    """`QwenSparseEmbeddings` for chromadb. A collection saves its options, but never the key."""

    def __init__(self, encoder: SparseEncoder) -> None:
        self._encoder = encoder

    def __call__(self, input: list[str]) -> list[SparseVector]:  # noqa: A002 -- chromadb's name
        """Embed documents: one `SparseVector` per text."""
        return [_vector(row) for row in self._encoder.encode(input, "document")]

    def embed_query(self, input: list[str]) -> list[SparseVector]:  # noqa: A002
        """Embed queries: one `SparseVector` per text."""
        return [_vector(row) for text in input for row in self._encoder.encode([text], "query")]

    @staticmethod
    def name() -> str:
        """Return the name under which collections save this class."""
        return "qwen_sparse"

    def get_config(self) -> dict[str, Any]:
        """Return the options that a collection saves: all that change a sparse vector."""
        return self._encoder.vector_options

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ChromaSparse:
        """Return the object that a collection saved; the key comes from the environment."""
        return ChromaSparse(SparseEncoder(**config))


def _vector(row: SparseRow) -> SparseVector:
    indices, values = row.to_lists()
    return SparseVector(indices=indices, values=values)
