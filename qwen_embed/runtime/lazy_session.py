"""The session of an embedding object, opened with its first call."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Literal

from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.errors import ClosedError
from qwen_embed.process.fork_safety import no_fork

if TYPE_CHECKING:
    from qwen_embed.pipeline.pairing import NodeText
    from qwen_embed.runtime.session import Session

Admit = Callable[[int], Awaitable[object]]
MakeSession = Callable[[], "Session"]


class LazySession:
    """Holds the session of one embedding object, or of a pair. A pickle of it holds none.

    It has no lock, which a fork could leave locked: whatever is set is set in one step.
    """

    def __init__(self) -> None:
        self._closed = False
        self._opened: dict[Literal["session"], Session] = {}
        self._make_paired: MakeSession | None = None
        self._node_text: NodeText | None = None

    @property
    def opened(self) -> Session | None:
        """The session, or `None` before the first call."""
        return self._opened.get("session")

    def open(self, make: MakeSession, owner: str) -> Session:
        """Return the session; the first call makes it.

        Args:
            make: Makes it.
            owner: The name of the object's class, for the error.

        Raises:
            ClosedError: After `close`.
        """
        session = self.opened
        if session is None and not self._closed:
            # If two threads come first together, both go on with one of the two sessions.
            session = self._opened.setdefault("session", (self._make_paired or make)())
        # Checked last: either this sees that the object was closed, or `close` sees the session.
        if session is None or self._closed:
            raise ClosedError(f"This {owner} was closed; make a new one.")
        if self._make_paired is not None and not session.paired:
            session.pair_vectors(self._node_text)
        return session

    def pair(self, make_dense: MakeSession, node_text: NodeText | None) -> None:
        """Let a sparse object use the dense object's session too, whichever opens it.

        Args:
            make_dense: Makes the session with the options of the dense object.
            node_text: See `PairedVectors`.
        """
        self._node_text = node_text
        self._make_paired = make_dense

    def close(self) -> Session | None:
        """Let no call begin any more, and return the session, if there is one."""
        self._closed = True
        return self.opened

    def __reduce__(self) -> tuple[type[LazySession], tuple[()]]:
        return LazySession, ()


def session_maker(settings: EmbeddingSettings, admit: Admit | None) -> MakeSession:
    """Return what makes a session with the options of an embedding object.

    Args:
        settings: The object.
        admit: Waits until the framework's own limiter admits a request of so many tokens.
    """
    # A copy, because the object holds the session: a cycle would keep both until a collection.
    options = EmbeddingSettings.model_construct(
        **{name: getattr(settings, name) for name in EmbeddingSettings.model_fields}
    )
    return partial(_make_session, options, admit)


def _make_session(options: EmbeddingSettings, admit: Admit | None) -> Session:
    try:
        with no_fork():
            # Loads aiohttp and numpy, which importing an adapter must not.
            from qwen_embed.runtime.session import Session  # noqa: PLC0415
    except RuntimeError:
        # After the main thread has ended, Python's own modules for threads cannot be imported.
        if threading.main_thread().is_alive():
            raise
        raise ClosedError.at_exit() from None
    return Session(options, admit)
