"""Whether anything in the program reads LlamaIndex's events of embeddings."""

from __future__ import annotations

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index_instrumentation import get_dispatcher
from llama_index_instrumentation.event_handlers.null import NullEventHandler
from llama_index_instrumentation.span_handlers.null import NullSpanHandler

_DEAF = (NullEventHandler, NullSpanHandler)


def somebody_listens(embedding: BaseEmbedding) -> bool:
    """Return whether a handler would see the vectors that an event or a span carries."""
    if embedding.callback_manager.handlers:
        return True
    for name in (BaseEmbedding.__module__, type(embedding).__module__):
        dispatcher = get_dispatcher(name)
        while True:
            handlers = (*dispatcher.event_handlers, *dispatcher.span_handlers)
            if not all(isinstance(handler, _DEAF) for handler in handlers):
                return True
            if not dispatcher.propagate:
                break
            dispatcher = dispatcher.parent
    return False
