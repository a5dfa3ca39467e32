"""`QwenEmbedding`: the core in the form of LlamaIndex's `BaseEmbedding`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.callbacks import CallbackManager
from pydantic import Field, field_validator

from llamaindex_qwen_embed.events import dense_events
from llamaindex_qwen_embed.options import LlamaIndexFields
from llamaindex_qwen_embed.sparse_embedding import QwenSparseEmbedding, node_text


class QwenEmbedding(LlamaIndexFields, BaseEmbedding):
    """Qwen text embeddings for LlamaIndex. Safe to use from threads and from any event loop.

    Texts are sent as documents, queries as queries with `instruct`. A list of any length may be
    given at once: it is split into batches that are sent side by side, duplicates are sent once,
    and a request that fails is retried alone.

    `get_query_embedding`, `get_text_embedding` and their async twins return one row of `dimension`
    Python floats. They raise `InputError` for a text that cannot be embedded, before anything is
    sent, a `RequestError` if it failed, and `ClosedError` after `close()`.

    Raises:
        pydantic.ValidationError: If an option cannot be used; the message says what can.

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
    """LlamaIndex's handlers of callbacks, which hear of every call; none where not given."""

    embeddings_cache: Any = None
    """LlamaIndex's cache, which is refused: it would give a query the vector of the equal document.
    `cache` takes its place."""

    @classmethod
    def class_name(cls) -> str:
        """Return the name under which LlamaIndex saves this class."""
        return "QwenEmbedding"

    @field_validator("embeddings_cache", mode="after")
    @classmethod
    def _refuse_cache(cls, cache: Any) -> None:
        if cache is not None:
            raise ValueError(
                "embeddings_cache is keyed by the text alone: a query would get the vector of the "
                "equal document, and models and dimensions would mix. Give a folder as `cache=` "
                "instead."
            )

    def get_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **_: Any
    ) -> list[list[float]]:
        """Embed texts that are to be found.

        The whole list is one call: it is split into batches here, which are sent side by side.

        Args:
            texts: Any number of texts.
            show_progress: Show a progress bar, in texts.
            **_: Accepted as LlamaIndex has them; none has an effect.

        Returns:
            One row of `dimension` Python floats per text, in the order of `texts`.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some of several texts failed; the rows of the others are in its
                `result`, with `None` for those of failed texts.
            RequestError: If the only text failed, or the call as a whole, such as for a bad key.
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
        """Embed texts that are to be found; see `get_text_embedding_batch`."""
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

        The service answers both kinds of vectors at the price of one. From now on a request that
        either object makes asks for both, and the half that was not asked for waits for the other
        object, so that a hybrid store which asks one after the other pays once. What waits takes
        256 MiB at most of each kind; then the oldest calls are forgotten, and cost a request of
        their own. The two share connections, usage and `close()`. A copy or a pickle of either is
        alone, and so are those in worker processes.

        Raises:
            pydantic.ValidationError: If the model or the protocol has no sparse vectors.

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
