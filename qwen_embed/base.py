"""What every embedding object is: the contract of an adapter to a framework.

An adapter derives from `BaseEmbedder` or `BaseSparseEmbedder`, and hands lists of texts to the
methods here that embed them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from pydantic import PrivateAttr, model_validator
from typing_extensions import Self

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.errors import InputError
from qwen_embed.explain import SharedToken, shared_tokens
from qwen_embed.models import find_model
from qwen_embed.results import CallResult
from qwen_embed.runtime.lazy_session import LazySession, session_maker
from qwen_embed.usage import Usage, list_price

if TYPE_CHECKING:
    from qwen_embed.pipeline.pairing import NodeText
    from qwen_embed.rate_limit.limiter import Limits
    from qwen_embed.runtime.session import Session
    from qwen_embed.sparse import SparseVectors
    from qwen_embed.types import TextType


R = TypeVar("R")


def check_sparse(settings: EmbeddingSettings) -> None:
    """Raise for a model or a protocol that has no sparse vectors.

    Raises:
        InputError: If it is known to have none.
    """
    if not find_model(settings.model).sparse:
        raise InputError(f"{settings.model} makes no sparse vectors; text-embedding-v4 does.")
    if settings.protocol == "openai":
        raise InputError(
            "The OpenAI-compatible protocol has no sparse vectors; the native one has them: leave "
            "protocol out, and name a base_url that ends in /api/v1."
        )


class BaseEmbedder(EmbeddingSettings):
    """The settings, and a session opened with the first call: what every embedding object is."""

    _lazy_session: LazySession = PrivateAttr(default_factory=LazySession)

    @property
    def _session(self) -> Session:
        return self._lazy_session.open(self._make_session, type(self).__name__)

    def _make_session(self) -> Session:
        return session_maker(self, self._admission())()

    def _admission(self) -> Callable[[int], Awaitable[object]] | None:
        """Return what waits for a limiter of the framework's, where the object has one."""
        return None

    def _whole(self, embedded: CallResult[R]) -> R:
        """Return the rows of a call, or raise; an adapter may tell its framework of the usage."""
        return embedded.unwrap()

    def _rows(
        self, texts: Iterable[str], text_type: TextType, *, show_progress: bool = False
    ) -> list[list[float]]:
        session = self._session
        return self._whole(
            session.embed(texts, text_type, session.LISTS, show_progress=show_progress)
        )

    async def _arows(
        self, texts: Iterable[str], text_type: TextType, *, show_progress: bool = False
    ) -> list[list[float]]:
        session = self._session
        return self._whole(
            await session.aembed(texts, text_type, session.LISTS, show_progress=show_progress)
        )

    def _both(
        self, texts: Iterable[str], text_type: TextType
    ) -> tuple[list[list[float]], SparseVectors]:
        check_sparse(self)
        session = self._session
        return self._whole(session.embed(texts, text_type, session.LISTS_AND_SPARSE))

    async def _aboth(
        self, texts: Iterable[str], text_type: TextType
    ) -> tuple[list[list[float]], SparseVectors]:
        check_sparse(self)
        session = self._session
        return self._whole(await session.aembed(texts, text_type, session.LISTS_AND_SPARSE))

    @property
    def usage(self) -> Usage:
        """What all calls of this object have used so far: a `Usage`, one that does not change."""
        session = self._lazy_session.opened
        return self._priced(session.usage if session else Usage())

    @property
    def limits(self) -> Limits:
        """What the account is taken to allow at the moment: `Limits`, by the minute.

        Objects of one process with the same key, host and model share what was found.

        Raises:
            ClosedError: After `close()`.
        """
        return self._session.limits

    def _priced(self, usage: Usage) -> Usage:
        return replace(usage, price=list_price(find_model(self.model), self.region))

    def explain_match(self, query: str, document: str) -> list[SharedToken]:
        """Say why a document matches a query, by the tokens of their sparse vectors.

        Args:
            query: The query.
            document: The document.

        Returns:
            A `SharedToken` for each token that both have, those that add most to the lexical score
            first. It takes one request for each side.

        Raises:
            InputError: If the model makes no sparse vectors, or a text cannot be embedded. Nothing
                was sent.
            RequestError: If a request failed for good.
            ClosedError: After `close()`.

        Example:
            >>> from qwen_embed import QwenEmbedder
            >>> from qwen_embed.emulator import Emulator
            >>> with Emulator() as service:
            ...     options = {"api_key": service.api_key, "base_url": service.native_url}
            ...     with QwenEmbedder(**options) as embedder:
            ...         shared = embedder.explain_match("rising wind", "The wind rises.")
            >>> [each.token for each in shared]
            ['wind']
        """
        check_sparse(self)
        session = self._session
        form = session.SPARSE_WITH_TOKENS
        (query_row,) = self._whole(session.embed([query], "query", form))
        (document_row,) = self._whole(session.embed([document], "document", form))
        return shared_tokens(query_row, document_row)

    async def aexplain_match(self, query: str, document: str) -> list[SharedToken]:
        """Say why a document matches a query; see `explain_match`."""
        check_sparse(self)
        session = self._session
        form = session.SPARSE_WITH_TOKENS
        (query_row,) = self._whole(await session.aembed([query], "query", form))
        (document_row,) = self._whole(await session.aembed([document], "document", form))
        return shared_tokens(query_row, document_row)

    def close(self) -> None:
        """Close the connections, which the end of a `with` block does too.

        Calls that follow raise `ClosedError`, also those of the other object of a pair. `usage`
        stays. To close again does nothing.
        """
        session = self._lazy_session.close()
        if session is not None:
            session.close()

    async def aclose(self) -> None:
        """Close the connections, from async code; see `close`. So does an `async with` block."""
        session = self._lazy_session.close()
        if session is not None:
            await session.aclose()

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


class BaseSparseEmbedder(BaseEmbedder):
    """What every object for sparse vectors is, alone or as one of a pair."""

    @model_validator(mode="after")
    def _check_sparse(self) -> Self:
        check_sparse(self)
        if self.dimension is not None or self.normalize:
            raise ValueError("dimension and normalize are for dense vectors.")
        return self

    @classmethod
    def paired_with(cls, dense: BaseEmbedder, node_text: NodeText | None = None) -> Self:
        """Return an object that shares the requests of a dense one.

        Args:
            dense: The dense object.
            node_text: Returns the text of the node that a document stands for, or `None` where the
                document is all of it. `None` where no text of a node is ever asked for.

        Raises:
            pydantic.ValidationError: If the model or the protocol has no sparse vectors.
        """
        shared = cls.model_fields.keys() & type(dense).model_fields.keys()
        options = shared - {"dimension", "normalize", "model_name", "truncate_locally"}
        if dense.client is not None:
            options -= {"base_url", "region"}
        sparse = cls(**{name: getattr(dense, name) for name in options})

        dense._lazy_session.pair(session_maker(dense, dense._admission()), node_text)  # noqa: SLF001 -- one session for both
        sparse._lazy_session = dense._lazy_session  # noqa: SLF001
        return sparse

    def _sparse(
        self, texts: Iterable[str], text_type: TextType, *, show_progress: bool = False
    ) -> SparseVectors:
        session = self._session
        return self._whole(
            session.embed(texts, text_type, session.SPARSE, show_progress=show_progress)
        )

    async def _asparse(
        self, texts: Iterable[str], text_type: TextType, *, show_progress: bool = False
    ) -> SparseVectors:
        session = self._session
        return self._whole(
            await session.aembed(texts, text_type, session.SPARSE, show_progress=show_progress)
        )
