"""`QwenSparseEmbedding`: sparse vectors for LlamaIndex and its vector stores."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding

from llamaindex_qwen_embed.events import sparse_events
from llamaindex_qwen_embed.options import LlamaIndexFields
from llamaindex_qwen_embed.vectors import Encoded, encoded
from qwen_embed.base import BaseSparseEmbedder

if TYPE_CHECKING:
    from llamaindex_qwen_embed.stores.milvus import MilvusSparse


class QwenSparseEmbedding(LlamaIndexFields, BaseSparseEmbedder, BaseSparseEmbedding):
    """Qwen sparse vectors for LlamaIndex; `QwenEmbedding.sparse()` makes one that shares requests.

    Pass it to the Pinecone store as it is. For the Qdrant store pass `encode_documents` as
    `sparse_doc_fn` and `encode_queries` as `sparse_query_fn`; for the Milvus store call
    `for_milvus()`. The options of dense vectors (`dimension`, `normalize`) and the `openai`
    protocol raise an error.

    `get_query_embedding`, `get_text_embedding`, `get_text_embedding_batch` and their async versions
    return vectors as dicts from index to value. They raise the same errors as `encode_documents`.

    Raises:
        pydantic.ValidationError: If an option is invalid; the message names the valid ones.

    Example:
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     sparse = QwenSparseEmbedding(
        ...         api_key=service.api_key, base_url=service.native_url
        ...     )
        ...     row = sparse.get_query_embedding("wind")
        ...     sparse.close()
        >>> len(row)
        1
    """

    @classmethod
    def class_name(cls) -> str:
        """Return the name of this class in events."""
        return "QwenSparseEmbedding"

    def encode_documents(self, texts: list[str]) -> Encoded:
        """Embed documents.

        Args:
            texts: Any number of texts.

        Returns:
            Two lists with one list per text, in the order of `texts`: the text's indices, unique
            and ascending int, and its values, Python floats.

        Raises:
            InputError: If a text is invalid. Nothing was sent.
            PartialFailureError: If some of several texts failed. Its `result` is a `SparseVectors`
                with the vectors of the other texts; those of failed texts have no entries.
            RequestError: If the only text failed, or the whole call did, for example because the
                API key is wrong.
            ClosedError: After `close()`.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenSparseEmbedding(**options) as sparse:
            ...         indices, values = sparse.encode_documents(["wind", "The wind rises."])
            >>> [len(row) for row in values]
            [1, 4]
        """
        return encoded(self._sparse(texts, "document"))

    async def aencode_documents(self, texts: list[str]) -> Encoded:
        """Embed documents; see `encode_documents`."""
        return encoded(await self._asparse(texts, "document"))

    def encode_queries(self, texts: list[str]) -> Encoded:
        """Embed queries, with `instruct` if it is set.

        Args:
            texts: Any number of texts.

        Returns:
            Indices and values, as from `encode_documents`.

        Raises:
            QwenEmbedError: As from `encode_documents`.
        """
        return encoded(self._sparse(texts, "query"))

    async def aencode_queries(self, texts: list[str]) -> Encoded:
        """Embed queries; see `encode_queries`."""
        return encoded(await self._asparse(texts, "query"))

    def for_milvus(self) -> MilvusSparse:
        """Return a wrapper for LlamaIndex's Milvus store.

        The store requests the sparse vector of each node's bare text, one node at a time, while the
        dense vector is of the text with its metadata. If this object is one of a pair, the sparse
        vector is that of the text with its metadata too, which came in the same request as the
        dense one. Nodes with the same bare text but different metadata cannot be distinguished:
        each gets the sparse vector of the bare text, which takes an extra request.

        Returns:
            A `BaseSparseEmbeddingFunction` of that package, whose vectors are dicts from index to
            value.

        Raises:
            ImportError: If llama-index-vector-stores-milvus is not installed.
        """
        # Its base class is in that package, which may not be installed.
        from llamaindex_qwen_embed.stores.milvus import MilvusSparse  # noqa: PLC0415

        return MilvusSparse(self)

    def node_rows(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes; in a pair, with the metadata that the dense vector includes.

        Args:
            texts: The nodes' bare texts.

        Returns:
            One vector per text, a dict from index to value, in the order of `texts`.

        Raises:
            QwenEmbedError: As from `encode_documents`.
        """
        session = self._session
        return self._whole(session.embed(texts, "document", session.SPARSE_OF_NODES)).rows()

    async def anode_rows(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes; see `node_rows`."""
        session = self._session
        embedded = await session.aembed(texts, "document", session.SPARSE_OF_NODES)
        return self._whole(embedded).rows()

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **_: Any
    ) -> list[dict[int, float]]:
        """Embed documents; the whole list is one call.

        Args:
            texts: Any number of texts.
            show_progress: Show a progress bar, in texts.
            **_: Accepted because LlamaIndex passes them; they have no effect.

        Returns:
            One vector per text, a dict from index to value, in the order of `texts`.

        Raises:
            QwenEmbedError: As from `encode_documents`.
        """
        texts = self._session.as_list(texts)
        with sparse_events(self, texts) as finish:
            rows = self._sparse(texts, "document", show_progress=show_progress).rows()
            finish(rows)
        return rows

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **_: Any
    ) -> list[dict[int, float]]:
        """Embed documents; see `get_text_embedding_batch`."""
        texts = self._session.as_list(texts)
        with sparse_events(self, texts) as finish:
            vectors = await self._asparse(texts, "document", show_progress=show_progress)
            rows = vectors.rows()
            finish(rows)
        return rows

    def _get_query_embedding(self, query: str) -> dict[int, float]:
        return self._sparse([query], "query").rows()[0]

    async def _aget_query_embedding(self, query: str) -> dict[int, float]:
        return (await self._asparse([query], "query")).rows()[0]

    def _get_text_embedding(self, text: str) -> dict[int, float]:
        return self._sparse([text], "document").rows()[0]

    async def _aget_text_embedding(self, text: str) -> dict[int, float]:
        return (await self._asparse([text], "document")).rows()[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[dict[int, float]]:
        return self._sparse(texts, "document").rows()

    async def _aget_text_embeddings(self, texts: list[str]) -> list[dict[int, float]]:
        return (await self._asparse(texts, "document")).rows()
