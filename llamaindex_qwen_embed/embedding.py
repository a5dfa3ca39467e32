"""`QwenEmbedding`: dense vectors, as LlamaIndex's `BaseEmbedding`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from pydantic import Field, field_validator

from llamaindex_qwen_embed.events import dense_events
from llamaindex_qwen_embed.node_text import node_text
from llamaindex_qwen_embed.options import LlamaIndexFields
from llamaindex_qwen_embed.sparse_embedding import QwenSparseEmbedding


class QwenEmbedding(LlamaIndexFields, BaseEmbedding):
    """Qwen text embeddings for LlamaIndex. Safe to use from threads and from any event loop.

    Texts are sent as documents, queries as queries with `instruct`. Pass long lists in one call:
    they are split into batches and sent concurrently, each distinct text is sent once, and each
    request is retried on its own.

    `get_query_embedding`, `get_text_embedding` and their async versions return one vector of
    `dimension` Python floats. They raise `InputError` for an invalid text before anything is sent,
    `RequestError` if the text failed, and `ClosedError` after `close()`.

    Raises:
        pydantic.ValidationError: If an option is invalid; the message names the valid ones.

    Example:
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     embedding = QwenEmbedding(
        ...         model_name="text-embedding-v4",
        ...         dimension=512,
        ...         api_key=service.api_key,
        ...         base_url=service.native_url,
        ...     )
        ...     row = embedding.get_query_embedding("Who stole the tarts?")
        ...     embedding.close()
        >>> len(row), type(row[0])
        (512, <class 'float'>)
    """

    callback_manager: CallbackManager = Field(
        default_factory=lambda: CallbackManager([]), exclude=True
    )
    """LlamaIndex's callback handlers, which receive every call; none by default."""

    embeddings_cache: Any = None
    """LlamaIndex's cache, which raises an error: it would return a document's vector for a query
    with the same text. Use `cache` instead."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves this class."""
        return "QwenEmbedding"

    @field_validator("embeddings_cache", mode="after")
    @classmethod
    def _reject_cache(cls, cache: Any) -> None:
        if cache is not None:
            raise ValueError(
                "embeddings_cache is keyed by the text alone: a query would get the vector of a "
                "document with the same text, and models and dimensions would mix. Pass a folder "
                "as `cache=` instead."
            )

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **_: Any
    ) -> list[list[float]]:
        """Embed documents.

        The whole list is one call: it is split into batches, which are sent concurrently.

        Args:
            texts: Any number of texts.
            show_progress: Show a progress bar, in texts.
            **_: Accepted because LlamaIndex passes them; they have no effect.

        Returns:
            One vector of `dimension` Python floats per text, in the order of `texts`.

        Raises:
            InputError: If a text is invalid. Nothing was sent.
            PartialFailureError: If some of several texts failed. Its `result` has the vectors of
                the other texts, and `None` in place of those of failed texts.
            RequestError: If the only text failed, or the whole call did, for example because the
                API key is wrong.
            ClosedError: After `close()`.
        """
        texts = self._session.as_list(texts)
        with dense_events(self, texts) as finish:
            rows = self._rows(texts, "document", show_progress=show_progress)
            finish(rows)
        return rows

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **_: Any
    ) -> list[list[float]]:
        """Embed documents; see `get_text_embedding_batch`."""
        texts = self._session.as_list(texts)
        with dense_events(self, texts) as finish:
            rows = await self._arows(texts, "document", show_progress=show_progress)
            finish(rows)
        return rows

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._rows([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._arows([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._rows([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._arows([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return self._rows(texts, "document")

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await self._arows(texts, "document")

    def sparse(self) -> QwenSparseEmbedding:
        """Return an object for sparse vectors that shares requests with this one.

        The service returns dense and sparse vectors of a text together, at the price of one. From
        now on each request of either object asks for both, and the vectors of the other kind are
        kept until the other object requests them, so a hybrid store that calls one after the other
        pays once. At most 256 MiB of each kind are kept; beyond that the vectors of the oldest
        calls are evicted, and requested again when needed. The two objects share connections, usage
        and `close()`. A copy or a pickle of either is unpaired, and so are the objects
        in worker processes.

        Raises:
            pydantic.ValidationError: If the model or the protocol does not support sparse vectors.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     dense = QwenEmbedding(api_key=service.api_key, base_url=service.native_url)
            ...     sparse = dense.sparse()
            ...     rows = dense.get_text_embedding_batch(["The wind rises."])
            ...     indices, values = sparse.encode_documents(["The wind rises."])
            ...     dense.close()
            ...     len(service.requests)
            1
        """
        return QwenSparseEmbedding.paired_with(self, node_text)
