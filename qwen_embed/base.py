"""What every embedding object is: the contract of an adapter to a framework.

An adapter derives from `BaseEmbedder` or `BaseSparseEmbedder`, and hands lists of texts to the
methods here that embed them.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from pydantic import PrivateAttr, model_validator
from typing_extensions import Self

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.errors import ClosedError, InputError
from qwen_embed.explain import SharedToken, shared_tokens
from qwen_embed.models import find_model
from qwen_embed.process.fork_safety import no_fork
from qwen_embed.results import CallResult
from qwen_embed.usage import Usage, list_price

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwen_embed.pipeline.pairing import NodeText
    from qwen_embed.rate_limit.limiter import Limits
    from qwen_embed.runtime.session import Session
    from qwen_embed.sparse import SparseRow, SparseVectors
    from qwen_embed.types import TextType

    StreamedRow: TypeAlias = NDArray[np.float32] | SparseRow | tuple[NDArray[np.float32], SparseRow]

R = TypeVar("R")


class _Opening:
    """Opens an embedder's session with its first call; a copy of the embedder opens its own.

    It has no lock, which a fork could leave locked: what is set is set in one step.
    """

    def __init__(self) -> None:
        self.closed = False
        self._opened: dict[Literal["session"], Session] = {}
        self._make_dense: Callable[[], Session] | None = None
        self._node_text: NodeText | None = None

    @property
    def session(self) -> Session | None:
        """The session, or `None` before the first call."""
        return self._opened.get("session")

    def open(self, embedder: BaseEmbedder) -> Session:
        """Return the session.

        Raises:
            ClosedError: After `close`.
        """
        session = self.session
        if session is None and not self.closed:
            made = (self._make_dense or embedder._session_maker())()  # noqa: SLF001 -- its part
            # Where two threads come first together, both go on with one of the two.
            session = self._opened.setdefault("session", made)
        # Asked last: either this sees that the object was closed, or `close` sees the session.
        if session is None or self.closed:
            raise ClosedError(f"This {type(embedder).__name__} was closed; make a new one.")
        if self._make_dense is not None and not session.paired:
            session.pair_vectors(self._node_text)
        return session

    def close(self) -> Session | None:
        """Let no call begin any more, and return the session, if there is one."""
        self.closed = True
        return self.session

    def share(self, make_dense: Callable[[], Session], node_text: NodeText | None) -> None:
        """Let a sparse object use the dense one's session too, whichever opens it.

        Args:
            make_dense: Makes that session, with the options of the dense object.
            node_text: See `PairedVectors`.
        """
        self._node_text = node_text
        self._make_dense = make_dense

    def __reduce__(self) -> tuple[type[_Opening], tuple[()]]:
        return _Opening, ()  # a pickle of an embedder opens its own session


def _make_session(
    options: EmbeddingSettings, admit: Callable[[int], Awaitable[object]] | None
) -> Session:
    try:
        with no_fork():
            # Loads aiohttp and numpy, which importing an adapter must not.
            from qwen_embed.runtime.session import Session  # noqa: PLC0415
    except RuntimeError:
        # Python's own modules for threads cannot be loaded then.
        if threading.main_thread().is_alive():
            raise
        raise ClosedError.at_exit() from None
    return Session(options, admit)


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

    _opening: _Opening = PrivateAttr(default_factory=_Opening)

    @property
    def _session(self) -> Session:
        return self._opening.open(self)

    def _admission(self) -> Callable[[int], Awaitable[object]] | None:
        """Return what waits for a limiter of the framework's, where the object has one."""
        return None

    def _session_maker(self) -> Callable[[], Session]:
        """Return what makes a session with the options of this object."""
        # A copy, since the object holds the session: a cycle would keep both until a collection.
        options = EmbeddingSettings.model_construct(
            **{name: getattr(self, name) for name in EmbeddingSettings.model_fields}
        )
        return partial(_make_session, options, self._admission())

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
        session = self._opening.session
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
        session = self._opening.close()
        if session is not None:
            session.close()

    async def aclose(self) -> None:
        """Close the connections, from async code; see `close`. So does an `async with` block."""
        session = self._opening.close()
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

        dense._opening.share(dense._session_maker(), node_text)  # noqa: SLF001 -- one session for both
        sparse._opening = dense._opening  # noqa: SLF001
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
