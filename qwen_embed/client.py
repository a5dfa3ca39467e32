"""`QwenEmbedder`, and the base that it shares with the adapters."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Literal

from pydantic import PrivateAttr
from typing_extensions import Self

from qwen_embed.errors import ClosedError
from qwen_embed.models import find_model
from qwen_embed.results import EmbeddingResult
from qwen_embed.settings import EmbeddingSettings
from qwen_embed.usage import Usage, list_price

if TYPE_CHECKING:
    from qwen_embed.rows import FloatArray
    from qwen_embed.session import Session


class _Opening:
    """Opens an embedder's session with its first call; a copy of the embedder opens its own."""

    def __init__(self) -> None:
        self.session: Session | None = None
        self.closed = False
        self._lock = threading.Lock()

    def open(self, embedder: EmbedderBase) -> Session:
        if self.closed:
            raise ClosedError(f"This {type(embedder).__name__} was closed; make a new one.")
        with self._lock:
            if self.session is None:
                # Loads aiohttp and numpy, which importing an adapter must not.
                from qwen_embed.session import Session  # noqa: PLC0415

                self.session = Session(embedder)
            return self.session

    def __reduce__(self) -> tuple[type[_Opening], tuple[()]]:
        return _Opening, ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Opening)  # embedders are equal when their options are

    __hash__ = None  # type: ignore[assignment]  # as the embedder itself


class EmbedderBase(EmbeddingSettings):
    """The settings, and a session opened with the first call: what every embedding object is."""

    _opening: _Opening = PrivateAttr(default_factory=_Opening)

    @property
    def _session(self) -> Session:
        return self._opening.open(self)

    @property
    def usage(self) -> Usage:
        """What all calls of this object have used so far."""
        session = self._opening.session
        return self._priced(session.usage if session else Usage())

    def _priced(self, usage: Usage) -> Usage:
        return replace(usage, price=list_price(find_model(self.model), self.region))

    def close(self) -> None:
        """Close the connections. The object cannot be used afterwards."""
        self._opening.closed = True
        if self._opening.session is not None:
            self._opening.session.close()

    async def aclose(self) -> None:
        """Close the connections, from async code. The object cannot be used afterwards."""
        self._opening.closed = True
        if self._opening.session is not None:
            await self._opening.session.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


class QwenEmbedder(EmbedderBase):
    """Qwen text embeddings as numpy arrays. Safe to use from threads and from any event loop.

    Queries go out as queries and documents as documents. Lists of any length are cut into requests,
    duplicates are sent once, requests run side by side, and a request that fails is repeated alone.

    Example:
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     embedder = QwenEmbedder(
        ...         api_key=service.api_key, base_url=service.native_url, dimension=512
        ...     )
        ...     result = embedder.embed_documents(["The wind rises.", "风起了。"])
        ...     embedder.close()
        >>> result.dense.shape, result.dense.dtype.name
        ((2, 512), 'float32')
    """

    output: Literal["dense"] = "dense"
    """The kind of vectors."""

    def embed_documents(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed texts that are to be found.

        Args:
            texts: Any number of str; a list, or anything ordered.

        Returns:
            One row a text, in the order of `texts`.

        Raises:
            InputError: If a text cannot be embedded. Nothing was sent.
            PartialFailureError: If some texts failed; the rows of the others are in it.
            RequestError: If the call failed as a whole, such as for a bad key.
        """
        return self._result(self._session.embed_array(texts, "document"))

    async def aembed_documents(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed texts that are to be found; see `embed_documents`."""
        return self._result(await self._session.aembed_array(texts, "document"))

    def embed_queries(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed texts that find documents, with `instruct`; else as `embed_documents`."""
        return self._result(self._session.embed_array(texts, "query"))

    async def aembed_queries(self, texts: Iterable[str]) -> EmbeddingResult:
        """Embed texts that find documents, with `instruct`; else as `embed_documents`."""
        return self._result(await self._session.aembed_array(texts, "query"))

    def embed_query(self, text: str) -> EmbeddingResult:
        """Embed one text that finds documents: a result of one row, shape `(1, dimension)`."""
        return self.embed_queries([text])

    async def aembed_query(self, text: str) -> EmbeddingResult:
        """Embed one text that finds documents: a result of one row, shape `(1, dimension)`."""
        return await self.aembed_queries([text])

    def _result(self, answered: tuple[FloatArray, Usage]) -> EmbeddingResult:
        dense, usage = answered
        return EmbeddingResult(dense=dense, sparse=None, usage=self._priced(usage))
