"""`QwenEmbeddings`: the core in the form of LangChain's `Embeddings`."""

from __future__ import annotations

from langchain_core.embeddings import Embeddings

from qwen_embed.client import EmbedderBase


class QwenEmbeddings(EmbedderBase, Embeddings):
    """Qwen text embeddings for LangChain. Safe to use from threads and from any event loop.

    Documents go out as documents, queries as queries with `instruct`. A list of any length may be
    given at once: it is cut into requests that run side by side, duplicates are sent once, and a
    request that fails is repeated alone.

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
            One row of Python floats a text, in the order of `texts`.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some texts failed; the rows of the others are in it.
            RequestError: If the call failed as a whole, such as for a bad key.
        """
        return self._rows(texts, "document")

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts that are to be found; see `embed_documents`."""
        return await self._arows(texts, "document")

    def embed_query(self, text: str) -> list[float]:
        """Embed one text that finds documents, with `instruct` where one is set.

        Returns:
            One row of Python floats.
        """
        return self._rows([text], "query")[0]

    async def aembed_query(self, text: str) -> list[float]:
        """Embed one text that finds documents; see `embed_query`."""
        return (await self._arows([text], "query"))[0]
