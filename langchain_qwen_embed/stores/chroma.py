"""Sparse vectors as chromadb takes them: a registered class of its protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chromadb import SparseEmbeddingFunction, SparseVector
from chromadb.utils.embedding_functions import register_sparse_embedding_function

from langchain_qwen_embed.sparse_embeddings import QwenSparseEmbeddings

if TYPE_CHECKING:
    from langchain_qwen_embed.sparse_embeddings import SparseVector as Vector


@register_sparse_embedding_function
class ChromaSparse(SparseEmbeddingFunction):  # type: ignore[misc]  # comes without types
    """`QwenSparseEmbeddings` for chromadb. A collection saves its options, but never the key."""

    def __init__(self, sparse: QwenSparseEmbeddings) -> None:
        self._sparse = sparse

    def __call__(self, input: list[str]) -> list[SparseVector]:  # noqa: A002 -- chromadb's name
        """Embed texts that are to be found: one `SparseVector` a text."""
        return [_vector(each) for each in self._sparse.embed_documents(input)]

    def embed_query(self, input: list[str]) -> list[SparseVector]:  # noqa: A002
        """Embed texts that find documents: one `SparseVector` a text."""
        return [_vector(self._sparse.embed_query(text)) for text in input]

    @staticmethod
    def name() -> str:
        """Return the name under which collections save this class."""
        return "qwen_sparse"

    def get_config(self) -> dict[str, Any]:
        """Return the options that a collection saves."""
        return self._sparse.model_dump(include={"model", "instruct", "long_text"})

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> ChromaSparse:
        """Return the object that a collection saved; the key comes from the environment."""
        return ChromaSparse(QwenSparseEmbeddings(**config))


def _vector(vector: Vector) -> SparseVector:
    return SparseVector(indices=vector.indices, values=vector.values)
