"""`QwenSparseEmbeddings`: sparse vectors in the forms that LangChain's vector stores take."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from langchain_qwen_embed.options import LangChainFields
from langchain_qwen_embed.stores.pinecone import PineconeSparse
from qwen_embed.base import BaseSparseEmbedder

if TYPE_CHECKING:
    from langchain_qwen_embed.stores.chroma import ChromaSparse
    from langchain_qwen_embed.stores.milvus import MilvusSparse
    from qwen_embed.sparse import SparseVectors


@dataclass(frozen=True)
class SparseVector:
    """One sparse vector, as langchain-qdrant reads it.

    Attributes:
        indices: Unique and ascending.
        values: One for each index.
    """

    indices: list[int]
    values: list[float]


class QwenSparseEmbeddings(LangChainFields, BaseSparseEmbedder):
    """Qwen sparse vectors for LangChain; `QwenEmbeddings.sparse()` makes one that shares requests.

    As it is, it serves langchain-qdrant's `sparse_embedding`; `for_milvus()`, `for_chroma()` and
    `for_pinecone()` give what other stores take. Options of dense vectors (`dimension`,
    `normalize`) and the `openai` protocol are refused.

    Raises:
        pydantic.ValidationError: If an option cannot be used; the message says what can.

    Example:
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     sparse = QwenSparseEmbeddings(
        ...         api_key=service.api_key, base_url=service.native_url
        ...     )
        ...     vector = sparse.embed_query("wind")
        ...     sparse.close()
        >>> len(vector.indices) == len(vector.values) == 1
        True
    """

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embed texts that are to be found.

        Args:
            texts: Any number of texts.

        Returns:
            One vector a text, in the order of `texts`, of langchain-qdrant's own class where that
            is imported: `indices`, a list of unique and ascending int, and `values`, a list of
            Python floats.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some of several texts failed; the rows of the others are in its
                `result`, a `SparseVectors` with no entries for those of failed texts.
            RequestError: If the only text failed, or the call as a whole, such as for a bad key.
            ClosedError: After `close()`.
        """
        return _vectors(self._sparse(texts, "document"))

    async def aembed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embed texts that are to be found; see `embed_documents`."""
        return _vectors(await self._asparse(texts, "document"))

    def embed_query(self, text: str) -> SparseVector:
        """Embed one text that finds documents, with `instruct` where one is set.

        Returns:
            One vector, as `embed_documents` makes them.

        Raises:
            InputError: If the text cannot be embedded. Nothing was sent.
            RequestError: If it failed.
            ClosedError: After `close()`.
        """
        return _vectors(self._sparse([text], "query"))[0]

    async def aembed_query(self, text: str) -> SparseVector:
        """Embed one text that finds documents; see `embed_query`."""
        return _vectors(await self._asparse([text], "query"))[0]

    def for_milvus(self) -> MilvusSparse:
        """Return this object as langchain-milvus takes it.

        Returns:
            A `BaseSparseEmbedding` of that package, whose rows are dicts from index to value.

        Raises:
            ImportError: If langchain-milvus is not installed.
        """
        # The class has a base of langchain-milvus, which need not be installed.
        from langchain_qwen_embed.stores.milvus import MilvusSparse  # noqa: PLC0415

        return MilvusSparse(self)

    def for_chroma(self) -> ChromaSparse:
        """Return this object as chromadb takes it.

        Returns:
            A `SparseEmbeddingFunction` of that package. A collection saves its options, but never
            the key.

        Raises:
            ImportError: If chromadb is not installed.
        """
        from langchain_qwen_embed.stores.chroma import ChromaSparse  # noqa: PLC0415 -- likewise

        return ChromaSparse(self)

    def for_pinecone(self) -> PineconeSparse:
        """Return an object of the same methods whose vectors are Pinecone's dicts.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenSparseEmbeddings(**options) as sparse:
            ...         sorted(sparse.for_pinecone().embed_query("wind"))
            ['indices', 'values']
        """
        return PineconeSparse(self)


def _vectors(vectors: SparseVectors) -> list[SparseVector]:
    # A store that has a class of its own for them has been imported by whoever uses it.
    qdrant = sys.modules.get("langchain_qdrant.sparse_embeddings")
    made: type[SparseVector] = getattr(qdrant, "SparseVector", SparseVector)
    return [made(indices=list(row.indices), values=list(row.values)) for row in vectors]
