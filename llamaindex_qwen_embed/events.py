"""LlamaIndex's events of a call: its start, its end with the vectors, and its usage.

Events copy texts and vectors, so they are made only if a handler would receive them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

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
from llama_index_instrumentation.dispatcher import Dispatcher
from llama_index_instrumentation.event_handlers.null import NullEventHandler

from qwen_embed.usage import Usage


class EmbeddingUsageEvent(BaseEvent):
    """What one call used. It is sent within LlamaIndex's span of the call, before its end event.

    A call that fails as a whole sends no event.

    Attributes:
        model_name: The model.
        texts: Texts that the service embedded.
        requests: HTTP requests sent, including retried, throttled and rejected ones.
        retries: How many of them were retries.
        cached: Texts whose vectors came from the cache.
        tokens: Tokens that the service reports as billed.
        cost: The estimated price of the tokens, or `None` if it is unknown.
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
    embedding: BaseEmbedding, texts: Sequence[str]
) -> Iterator[Callable[[list[list[float]]], None]]:
    """Send LlamaIndex's handlers and callbacks the events of a call, as its own loop would.

    Yields:
        A function to call with the vectors.
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
    embedding: BaseSparseEmbedding, texts: Sequence[str]
) -> Iterator[Callable[[list[dict[int, float]]], None]]:
    """Send LlamaIndex's handlers the events of a call; see `dense_events`."""
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


def send_usage(model: str, usage: Usage) -> None:
    """Send an `EmbeddingUsageEvent`, if there is a handler for it.

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


def has_event_handlers(module: str) -> bool:
    """Return whether any handler would receive the events of a module."""
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
