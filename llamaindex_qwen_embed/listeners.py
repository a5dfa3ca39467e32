"""Whether a handler would see the events of a module."""

from __future__ import annotations

from collections.abc import Iterator

from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers.null import NullEventHandler


def has_event_handlers(module: str) -> bool:
    """Return whether a handler would see the events of a module."""
    return any(
        not isinstance(handler, NullEventHandler)
        for dispatcher in _dispatchers(module)
        for handler in dispatcher.event_handlers
    )


def _dispatchers(module: str) -> Iterator[Dispatcher]:
    """Yield the dispatchers that an event of a module reaches."""
    dispatcher = get_dispatcher(module)
    yield dispatcher
    while dispatcher.propagate:
        dispatcher = dispatcher.parent
        yield dispatcher
