"""`QwenEmbedding`: the core in the form of LlamaIndex's `BaseEmbedding`."""

from __future__ import annotations

from typing import Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from pydantic import field_validator

from llamaindex_qwen_embed.fields import LlamaIndexFields
from llamaindex_qwen_embed.hand_overs import aembed_slice, embed_slice, hand_overs
from llamaindex_qwen_embed.listeners import somebody_listens
from llamaindex_qwen_embed.sparse_embedding import QwenSparseEmbedding, node_text


class QwenEmbedding(LlamaIndexFields, BaseEmbedding):
    """Qwen text embeddings for LlamaIndex. Safe to use from threads and from any event loop.

    Texts go out as documents, queries as queries with `instruct`. LlamaIndex hands over
    `embed_batch_size` texts at a time; they are cut into requests here, which run side by side.

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
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts that are to be found.

        All are checked before the first hand-over leaves, and what one hand-over loses costs the
        others nothing.

        Args:
            texts: Any number of texts.
            show_progress: Show LlamaIndex's own bar, which counts hand-overs.
            **kwargs: Passed on to LlamaIndex.

        Returns:
            One row of Python floats a text, in the order of `texts`.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some texts failed; the rows of the others are in it.
            RequestError: If the call failed as a whole, such as for a bad key.
        """
        self._session.check(texts)
        with hand_overs(heard=somebody_listens(self), until=self._session.deadline()) as gathered:
            rows = super().get_text_embedding_batch(texts, show_progress, **kwargs)
        return gathered.whole(texts, rows)

    async def aget_text_embedding_batch(
        self, texts: list[str], show_progress: bool = False, **kwargs: Any
    ) -> list[list[float]]:
        """Embed texts that are to be found; see `get_text_embedding_batch`."""
        self._session.check(texts)
        with hand_overs(heard=somebody_listens(self), until=self._session.deadline()) as gathered:
            rows = await super().aget_text_embedding_batch(texts, show_progress, **kwargs)
        return gathered.whole(texts, rows)

    def _get_query_embedding(self, query: str) -> list[float]:
        return self._rows([query], "query")[0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return (await self._arows([query], "query"))[0]

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._rows([text], "document")[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._arows([text], "document"))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return embed_slice(texts, lambda until: self._rows(texts, "document", until))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return await aembed_slice(texts, lambda until: self._arows(texts, "document", until))

    def sparse(self) -> QwenSparseEmbedding:
        """Return an object for sparse vectors that shares requests with this one.

        The service answers both kinds of vectors at the price of one. From now on a request that
        either object makes asks for both, and the half that was not asked for waits for the other
        object, so that a hybrid store which asks one after the other pays once. What waits takes
        256 MiB at most of each kind; then the oldest calls are forgotten, and cost a request of
        their own. The two share connections, usage and `close()`. A copy or a pickle of either is
        alone, and so are those in worker processes.

        Raises:
            InputError: If the model makes no sparse vectors.
        """
        return QwenSparseEmbedding.paired_with(self, node_text)
