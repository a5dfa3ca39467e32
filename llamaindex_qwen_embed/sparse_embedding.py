"""`QwenSparseEmbedding`: sparse vectors in the forms that LlamaIndex and its stores take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding

from llamaindex_qwen_embed.events import sparse_events
from llamaindex_qwen_embed.options import LlamaIndexFields
from qwen_embed.base import BaseSparseEmbedder

if TYPE_CHECKING:
    from llamaindex_qwen_embed.stores.milvus import MilvusSparse
    from qwen_embed.sparse import SparseVectors

Encoded = tuple[list[list[int]], list[list[float]]]
"""Indices and values of each row, as LlamaIndex's Qdrant store takes them."""


class QwenSparseEmbedding(LlamaIndexFields, BaseSparseEmbedder, BaseSparseEmbedding):
    """Qwen sparse vectors for LlamaIndex; `QwenEmbedding.sparse()` makes one that shares requests.

    As it is, it serves Pinecone's store. `encode_documents` and `encode_queries` are what Qdrant's
    takes as `sparse_doc_fn` and `sparse_query_fn`, and `for_milvus()` gives what Milvus's takes.
    Options of dense vectors (`dimension`, `normalize`) and the `openai` protocol are refused.

    `get_query_embedding`, `get_text_embedding`, `get_text_embedding_batch` and their async twins
    return rows as dicts from index to value. They raise what `encode_documents` raises.

    Raises:
        pydantic.ValidationError: If an option cannot be used; the message says what can.

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
        """Embed texts that are to be found.

        Args:
            texts: Any number of texts.

        Returns:
            Two lists of one list a text, in the order of `texts`: its indices, unique and ascending
            int, and its values, Python floats.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some of several texts failed; the rows of the others are in its
                `result`, a `SparseVectors` with no entries for those of failed texts.
            RequestError: If the only text failed, or the call as a whole, such as for a bad key.
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
        return _encoded(self._sparse(texts, "document"))

    async def aencode_documents(self, texts: list[str]) -> Encoded:
        """Embed texts that are to be found; see `encode_documents`."""
        return _encoded(await self._asparse(texts, "document"))

    def encode_queries(self, texts: list[str]) -> Encoded:
        """Embed texts that find documents, with `instruct` where one is set.

        Args:
            texts: Any number of texts.

        Returns:
            Indices and values, as from `encode_documents`.

        Raises:
            QwenEmbedError: As from `encode_documents`.
        """
        return _encoded(self._sparse(texts, "query"))

    async def aencode_queries(self, texts: list[str]) -> Encoded:
        """Embed texts that find documents; see `encode_queries`."""
        return _encoded(await self._asparse(texts, "query"))

    def for_milvus(self) -> MilvusSparse:
        """Return this object as LlamaIndex's Milvus store takes it.

        That store asks for the sparse vector of each node's bare text, one node at a time, while
        the dense vector is of the text with its metadata. Where this object is one of a pair, it
        answers with the sparse vector of the same text as the dense one, which came in the same
        request. Nodes of one bare text that differ in metadata cannot be told apart: each gets the
        sparse vector of the bare text, at a request of its own.

        Returns:
            A `BaseSparseEmbeddingFunction` of that package, whose rows are dicts from index to
            value.

        Raises:
            ImportError: If llama-index-vector-stores-milvus is not installed.
        """
        # The class has a base of that package, which need not be installed.
        from llamaindex_qwen_embed.stores.milvus import MilvusSparse  # noqa: PLC0415

        return MilvusSparse(self)

    def node_rows(self, texts: list[str]) -> list[dict[int, float]]:
        """Embed the texts of nodes; where one of a pair, with the metadata that the dense side saw.

        Args:
            texts: The nodes' bare texts.

        Returns:
            One row a text, a dict from index to value, in the order of `texts`.

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
        """Embed texts that are to be found, the whole list in one call.

        Args:
            texts: Any number of texts.
            show_progress: Show a progress bar, in texts.
            **_: Accepted as LlamaIndex has them; none has an effect.

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
        """Embed texts that are to be found; see `get_text_embedding_batch`."""
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


def node_text(content: str) -> str | None:
    r"""Return a node's bare text from what is embedded for it, or `None` where it has no metadata.

    LlamaIndex puts metadata before the text as lines of `key: value` and an empty line.

    Example:
        >>> node_text("work: Alice\nchapter: 6\n\nThe Cat grinned.")
        'The Cat grinned.'
    """
    metadata, separator, text = content.partition("\n\n")
    is_metadata = all(": " in line for line in metadata.split("\n"))
    return text if separator and text and is_metadata else None


def _encoded(vectors: SparseVectors) -> Encoded:
    rows = list(vectors)
    return [list(row.indices) for row in rows], [list(row.values) for row in rows]
