"""`QwenEmbeddings`: the core in the form of LangChain's `Embeddings`."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from langchain_qwen_embed.options import LangChainFields
from langchain_qwen_embed.sparse_embeddings import QwenSparseEmbeddings


class QwenEmbeddings(LangChainFields, Embeddings):
    """Qwen text embeddings for LangChain. Safe to use from threads and from any event loop.

    Documents go out as documents, queries as queries with `instruct`. A list of any length may be
    given at once: it is cut into requests that run side by side, duplicates are sent once, and a
    request that fails is repeated alone.

    Raises:
        pydantic.ValidationError: If an option cannot be used; the message says what can.

    Example:
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     embeddings = QwenEmbeddings(api_key=service.api_key, base_url=service.native_url)
        ...     row = embeddings.embed_query("Who stole the tarts?")
        ...     embeddings.close()
        >>> len(row), type(row[0])
        (1024, <class 'float'>)
    """

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are to be found.

        Args:
            texts: Any number of texts.

        Returns:
            One row of `dimension` Python floats a text, in the order of `texts`.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some of several texts failed; the rows of the others are in its
                `result`, with `None` for those of failed texts.
            RequestError: If the only text failed, or the call as a whole, such as for a bad key.
            ClosedError: After `close()`.
        """
        return self._rows(texts, "document")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are to be found; see `embed_documents`."""
        return await self._arows(texts, "document")

    def embed_query(self, text: str) -> list[float]:
        """Embed one text that finds documents, with `instruct` where one is set.

        Returns:
            One row of `dimension` Python floats.

        Raises:
            InputError: If the text cannot be embedded. Nothing was sent.
            RequestError: If it failed.
            ClosedError: After `close()`.
        """
        return self._rows([text], "query")[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Embed one text that finds documents; see `embed_query`."""
        return (await self._arows([text], "query"))[0]

    def sparse(self) -> QwenSparseEmbeddings:
        """Return an object for sparse vectors that shares requests with this one.

        The service answers both kinds of vectors at the price of one. From now on a request that
        either object makes asks for both, and the half that was not asked for waits for the other
        object, so that a hybrid store which asks one after the other pays once. What waits takes
        256 MiB at most of each kind; then the oldest calls are forgotten, and cost a request of
        their own. The two share connections, usage and `close()`. A copy or a pickle of either is
        alone.

        Raises:
            pydantic.ValidationError: If the model or the protocol has no sparse vectors.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     dense = QwenEmbeddings(api_key=service.api_key, base_url=service.native_url)
            ...     sparse = dense.sparse()
            ...     rows = dense.embed_documents(["The wind rises."])
            ...     vectors = sparse.embed_documents(["The wind rises."])
            ...     dense.close()
            ...     len(service.requests)
            1
        """
        return QwenSparseEmbeddings.paired_with(self)

    def embed_both(self, texts: list[str]) -> tuple[list[list[float]], list[dict[int, float]]]:
        """Embed texts that are to be found, into vectors of both kinds from the same requests.

        For stores that take vectors made beforehand, such as `Milvus.add_embeddings`.

        Returns:
            Dense rows of `dimension` Python floats, and sparse rows as dicts from index to value,
            one of each a text, in the order of `texts`.

        Raises:
            InputError: If a text cannot be embedded, or the model makes no sparse vectors. Nothing
                was sent.
            QwenEmbedError: Else as from `embed_documents`.

        Example:
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenEmbeddings(**options) as embeddings:
            ...         dense, sparse = embeddings.embed_both(["The wind rises."])
            >>> len(dense[0]), len(sparse[0])
            (1024, 4)
        """
        dense, sparse = self._both(texts, "document")
        return dense, sparse.rows()

    async def aembed_both(
        self, texts: list[str]
    ) -> tuple[list[list[float]], list[dict[int, float]]]:
        """Embed texts that are to be found; see `embed_both`."""
        dense, sparse = await self._aboth(texts, "document")
        return dense, sparse.rows()

    def embed_query_both(self, text: str) -> tuple[list[float], dict[int, float]]:
        """Embed one text that finds documents, into vectors of both kinds from one request.

        Returns:
            A dense row of `dimension` Python floats, and a sparse row as a dict from index to
            value.

        Raises:
            InputError: If the text cannot be embedded, or the model makes no sparse vectors.
                Nothing was sent.
            RequestError: If it failed.
            ClosedError: After `close()`.
        """
        dense, sparse = self._both([text], "query")
        return dense[0], sparse.rows()[0]

    async def aembed_query_both(self, text: str) -> tuple[list[float], dict[int, float]]:
        """Embed one text that finds documents; see `embed_query_both`."""
        dense, sparse = await self._aboth([text], "query")
        return dense[0], sparse.rows()[0]
