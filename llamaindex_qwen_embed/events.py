"""What LlamaIndex's handlers hear of a call: its start, its end with the vectors, and its usage.

Events are made only where a handler would see them: they copy texts and vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.base.embeddings.base_sparse import BaseSparseEmbedding
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.embedding import (
    EmbeddingEndEvent,
    EmbeddingStartEvent,
    SparseEmbeddingEndEvent,
    SparseEmbeddingStartEvent,
)
from llama_index_instrumentation import get_dispatcher

from llamaindex_qwen_embed.listeners import has_event_handlers
from qwen_embed.usage import Usage

if TYPE_CHECKING:
    from llamaindex_qwen_embed.embedding import QwenEmbedding
    from llamaindex_qwen_embed.sparse_embedding import QwenSparseEmbedding


class EmbeddingUsageEvent(BaseEvent):
    """What one call used. It comes within LlamaIndex's span of the call, before its end event.

    A call that failed as a whole has no event.

    Attributes:
        model_name: The model.
        texts: Texts that the service embedded.
        requests: HTTP requests sent, repeated and refused ones included.
        retries: How many of them were repeats.
        cached: Texts whose vectors came from the cache.
        tokens: Tokens that the service says it billed.
        cost: The estimated price of the tokens, or `None` where it is not known.
        currency: The currency of `cost`, or `None`.
        price_as_of: The year and month of the list price, or `None`.

    Example:
        >>> from llama_index.core.instrumentation import get_dispatcher
        >>> from llama_index.core.instrumentation.event_handlers import BaseEventHandler
        >>> from llamaindex_qwen_embed import QwenEmbedding
        >>> from qwen_embed.emulator import Emulator
        >>> class PrintUsage(BaseEventHandler):
        ...     def handle(self, event, **kwargs):
        ...         if isinstance(event, EmbeddingUsageEvent):
        ...             print(event.texts, "text in", event.requests, "request")
        >>> handlers = get_dispatcher().event_handlers
        >>> handlers.append(PrintUsage())
        >>> with Emulator() as service:
        ...     options = {"api_key": service.api_key, "base_url": service.native_url}
        ...     with QwenEmbedding(**options) as embedding:
        ...         row = embedding.get_query_embedding("Who stole the tarts?")
        1 text in 1 request
        >>> del handlers[-1]
    """

    model_name: str
    texts: int
    requests: int
    retries: int
    cached: int
    tokens: int
    cost: float | None
    currency: str | None
    price_as_of: str | None

    @classmethod
    def class_name(cls) -> str:
        """Return the name of this class in events."""
        return "EmbeddingUsageEvent"


@contextmanager
def dense_events(
    embedding: QwenEmbedding, texts: Sequence[str]
) -> Iterator[Callable[[list[list[float]]], None]]:
    """Tell LlamaIndex's handlers and callbacks of a call on a list, as its own loop would.

    Yields:
        What is to be called with the vectors.
    """
    module = BaseEmbedding.__module__
    if not embedding.callback_manager.handlers and not has_event_handlers(module):
        yield lambda _: None
        return
    dispatcher, model, chunks = get_dispatcher(module), embedding.to_payload(), list(texts)
    dispatcher.event(EmbeddingStartEvent(model_dict=model))
    payload: dict[str, Any] = {EventPayload.SERIALIZED: model}
    with embedding.callback_manager.event(CBEventType.EMBEDDING, payload=payload) as event:

        def finish(vectors: list[list[float]]) -> None:
            event.on_end(
                payload={EventPayload.CHUNKS: chunks, EventPayload.EMBEDDINGS: vectors},
            )
            dispatcher.event(EmbeddingEndEvent(chunks=chunks, embeddings=vectors))

        yield finish


@contextmanager
def sparse_events(
    embedding: QwenSparseEmbedding, texts: Sequence[str]
) -> Iterator[Callable[[list[dict[int, float]]], None]]:
    """Tell LlamaIndex's handlers of a call on a list; see `dense_events`."""
    module = BaseSparseEmbedding.__module__
    if not has_event_handlers(module):
        yield lambda _: None
        return
    dispatcher, chunks = get_dispatcher(module), list(texts)
    dispatcher.event(SparseEmbeddingStartEvent(model_dict=embedding.to_payload()))
    yield lambda vectors: dispatcher.event(
        SparseEmbeddingEndEvent(chunks=chunks, embeddings=vectors)
    )


_DISPATCHER = get_dispatcher(__name__)


def tell_usage(model: str, usage: Usage) -> None:
    """Tell the handlers of events, if there are any, what a call used.

    Args:
        model: The model's name.
        usage: What was used, with its price.
    """
    if not has_event_handlers(__name__):
        return
    price = usage.price
    _DISPATCHER.event(
        EmbeddingUsageEvent(
            model_name=model,
            texts=usage.texts,
            requests=usage.requests,
            retries=usage.retries,
            cached=usage.cached,
            tokens=usage.tokens,
            cost=usage.cost,
            currency=price and price.currency,
            price_as_of=price and price.as_of,
        )
    )
