"""`QwenEmbeddings`: dense vectors, as LangChain's `Embeddings`."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from langchain_qwen_embed.options import LangChainFields
from langchain_qwen_embed.sparse_embeddings import QwenSparseEmbeddings


class QwenEmbeddings(LangChainFields, Embeddings):
    """Qwen text embeddings for LangChain. Safe to use from threads and from any event loop.

    Texts are sent as documents, queries as queries with `instruct`. Pass long lists in one call:
    they are split into batches and sent concurrently, each distinct text is sent once, and each
    request is retried on its own.

    Raises:
        pydantic.ValidationError: If an option is invalid; the message names the valid ones.

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
        """Embed documents.

        Args:
            texts: Any number of texts.

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
        return self._rows(texts, "document")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed documents; see `embed_documents`."""
        return await self._arows(texts, "document")

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, with `instruct` if it is set.

        Returns:
            One vector of `dimension` Python floats.

        Raises:
            InputError: If the text is invalid. Nothing was sent.
            RequestError: If the text failed.
            ClosedError: After `close()`.
        """
        return self._rows([text], "query")[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a query; see `embed_query`."""
        return (await self._arows([text], "query"))[0]

    def sparse(self) -> QwenSparseEmbeddings:
        """Return an object for sparse vectors that shares requests with this one.

        The service returns dense and sparse vectors of a text together, at the price of one. From
        now on each request of either object asks for both, and the vectors of the other kind are
        kept until the other object requests them, so a hybrid store that calls one after the other
        pays once. At most 256 MiB of each kind are kept; beyond that the vectors of the oldest
        calls are evicted, and requested again when needed. The two objects share connections, usage
        and `close()`. A copy or a pickle of either is unpaired.

        Raises:
            pydantic.ValidationError: If the model or the protocol does not support sparse vectors.

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
        """Embed documents into dense and sparse vectors, which come in the same requests.

        For stores that accept precomputed vectors, for example `Milvus.add_embeddings`.

        Returns:
            One dense and one sparse vector per text, in the order of `texts`: lists of `dimension`
            Python floats, and dicts from index to value.

        Raises:
            InputError: If a text is invalid, or the model does not support sparse vectors. Nothing
                was sent.
            QwenEmbedError: As from `embed_documents`.

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
        """Embed documents; see `embed_both`."""
        dense, sparse = await self._aboth(texts, "document")
        return dense, sparse.rows()

    def embed_query_both(self, text: str) -> tuple[list[float], dict[int, float]]:
        """Embed a query into a dense and a sparse vector, which come in one request.

        Returns:
            The dense vector, a list of `dimension` Python floats, and the sparse vector, a dict
            from index to value.

        Raises:
            InputError: If the text is invalid, or the model does not support sparse vectors.
                Nothing was sent.
            RequestError: If the text failed.
            ClosedError: After `close()`.
        """
        dense, sparse = self._both([text], "query")
        return dense[0], sparse.rows()[0]

    async def aembed_query_both(self, text: str) -> tuple[list[float], dict[int, float]]:
        """Embed a query; see `embed_query_both`."""
        dense, sparse = await self._aboth([text], "query")
        return dense[0], sparse.rows()[0]
