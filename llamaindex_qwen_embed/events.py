"""The event by which LlamaIndex's handlers hear what a call used."""

from __future__ import annotations

from llama_index.core.instrumentation.events import BaseEvent
from llama_index_instrumentation import get_dispatcher

from llamaindex_qwen_embed.listeners import somebody_hears_events
from qwen_embed.usage import Usage


class EmbeddingUsageEvent(BaseEvent):
    """What one call used. It comes within LlamaIndex's span of the call, before its end event.

    A list that LlamaIndex hands over in parts is a call for each. A call that failed as a whole has
    no event.

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


_DISPATCHER = get_dispatcher(__name__)


def tell_usage(model: str, usage: Usage) -> None:
    """Tell the handlers of events, if there are any, what a call used.

    Args:
        model: The model's name.
        usage: What was used, with its price.
    """
    if not somebody_hears_events(__name__):
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
