"""`QwenSparseEmbeddings`: sparse vectors for LangChain's vector stores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_qwen_embed.stores.pinecone import PineconeSparse
from langchain_qwen_embed.vectors import SparseEncoder, SparseVector

if TYPE_CHECKING:
    from langchain_qwen_embed.stores.chroma import ChromaSparse
    from langchain_qwen_embed.stores.milvus import MilvusSparse
    from qwen_embed.sparse import SparseVectors


class QwenSparseEmbeddings(SparseEncoder):
    """Qwen sparse vectors for LangChain; `QwenEmbeddings.sparse()` makes one that shares requests.

    Pass it to langchain-qdrant as `sparse_embedding`; for other stores call `for_milvus()`,
    `for_chroma()` or `for_pinecone()`. The options of dense vectors (`dimension`, `normalize`) and
    the `openai` protocol raise an error.

    Raises:
        pydantic.ValidationError: If an option is invalid; the message names the valid ones.

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
        """Embed documents.

        Args:
            texts: Any number of texts.

        Returns:
            One `SparseVector` per text, in the order of `texts`: `indices`, a list of unique and
            ascending int, and `values`, a list of Python floats.

        Raises:
            InputError: If a text is invalid. Nothing was sent.
            PartialFailureError: If some of several texts failed. Its `result` is a `SparseVectors`
                with the vectors of the other texts; those of failed texts have no entries.
            RequestError: If the only text failed, or the whole call did, for example because the
                API key is wrong.
            ClosedError: After `close()`.
        """
        return _vectors(self.encode(texts, "document"))

    async def aembed_documents(self, texts: list[str]) -> list[SparseVector]:
        """Embed documents; see `embed_documents`."""
        return _vectors(await self.aencode(texts, "document"))

    def embed_query(self, text: str) -> SparseVector:
        """Embed a query, with `instruct` if it is set.

        Returns:
            One `SparseVector`; see `embed_documents`.

        Raises:
            InputError: If the text is invalid. Nothing was sent.
            RequestError: If the text failed.
            ClosedError: After `close()`.
        """
        return _vectors(self.encode([text], "query"))[0]

    async def aembed_query(self, text: str) -> SparseVector:
        """Embed a query; see `embed_query`."""
        return _vectors(await self.aencode([text], "query"))[0]

    def for_milvus(self) -> MilvusSparse:
        """Return a wrapper for langchain-milvus.

        Returns:
            A `BaseSparseEmbedding` of that package, whose vectors are dicts from index to value.

        Raises:
            ImportError: If langchain-milvus is not installed.
        """
        # Its base class is in langchain-milvus, which may not be installed.
        from langchain_qwen_embed.stores.milvus import MilvusSparse  # noqa: PLC0415

        return MilvusSparse(self)

    def for_chroma(self) -> ChromaSparse:
        """Return a wrapper for chromadb.

        Returns:
            A `SparseEmbeddingFunction` of that package. A collection saves its options, but never
            the key.

        Raises:
            ImportError: If chromadb is not installed.
        """
        from langchain_qwen_embed.stores.chroma import ChromaSparse  # noqa: PLC0415 -- chromadb too

        return ChromaSparse(self)

    def for_pinecone(self) -> PineconeSparse:
        """Return a wrapper with the same methods, whose vectors are dicts as Pinecone takes them.

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
    return [SparseVector(*row.to_lists()) for row in vectors]
