"""Whether anything in the program reads LlamaIndex's events of embeddings."""

from __future__ import annotations

from collections.abc import Iterator

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers.null import NullEventHandler
from llama_index_instrumentation.span_handlers.null import NullSpanHandler


def somebody_listens(embedding: BaseEmbedding) -> bool:
    """Return whether a handler would see the vectors that an event or a span carries."""
    if embedding.callback_manager.handlers:
        return True
    return any(
        _hears_events(dispatcher) or _hears_spans(dispatcher)
        for name in (BaseEmbedding.__module__, type(embedding).__module__)
        for dispatcher in _chain(name)
    )


def somebody_hears_events(name: str) -> bool:
    """Return whether a handler would see the events of a module."""
    return any(map(_hears_events, _chain(name)))


def _chain(name: str) -> Iterator[Dispatcher]:
    """Yield the dispatchers that an event of a module reaches."""
    dispatcher = get_dispatcher(name)
    yield dispatcher
    while dispatcher.propagate:
        dispatcher = dispatcher.parent
        yield dispatcher


def _hears_events(dispatcher: Dispatcher) -> bool:
    return not all(isinstance(each, NullEventHandler) for each in dispatcher.event_handlers)


def _hears_spans(dispatcher: Dispatcher) -> bool:
    return not all(isinstance(each, NullSpanHandler) for each in dispatcher.span_handlers)
