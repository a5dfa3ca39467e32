"""OpenTelemetry spans of calls and requests, if the program has set a tracer provider.

Names and attributes follow OpenTelemetry's semantic conventions for embeddings of generative AI and
for HTTP clients, as of November 2026. Attributes that these do not define are `qwen_embed.*`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qwen_embed.config.endpoints import belongs_to_service
from qwen_embed.telemetry.events import CallRecord, Failure, RequestHook, RequestRecord
from qwen_embed.types import ProtocolName
from qwen_embed.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

Attributes = Mapping[str, str | int | Sequence[str]]

_PORTS = {"http": 80, "https": 443}


class Tracing:
    """Creates a span for every call, as a child of the caller's, and one for every request.

    Args:
        url: The address to which requests are sent.
        provider: The provider of the model; see `provider_of`.
        encoding_format: The requested encoding of numbers, or `None` if the protocol has only one.
    """

    def __init__(self, url: str, *, provider: str, encoding_format: str | None) -> None:
        self._common: Attributes = {
            "gen_ai.operation.name": "embeddings",
            "gen_ai.provider.name": provider,
        }
        if encoding_format is not None:
            self._common = {**self._common, "gen_ai.request.encoding_formats": (encoding_format,)}
        parts = urlsplit(url)
        self._url = url
        self._server: Attributes = {
            "server.address": parts.hostname or "",
            "server.port": parts.port or _PORTS[parts.scheme],
        }
        self._tracer: Tracer | None = None

    def on_call(self, call: CallRecord) -> AbstractContextManager[RequestHook] | None:
        """Return the context of a call's span, or `None` if the span is not recorded."""
        tracer = self._tracer = self._tracer or _find_tracer()
        if tracer is None:
            return None
        attributes: Attributes = {
            **self._common,
            "gen_ai.request.model": call.model,
            **self._server,
            "qwen_embed.text_type": call.text_type,
            "qwen_embed.output": call.output,
            "qwen_embed.texts": call.texts,
        }
        span = _start(tracer, f"embeddings {call.model}", attributes)
        return self._call(tracer, call, span) if span.is_recording() else None

    @contextmanager
    def _call(self, tracer: Tracer, call: CallRecord, span: Span) -> Iterator[RequestHook]:
        with _within(span):
            try:
                yield partial(self._request, tracer)
            finally:
                used = {
                    "gen_ai.embeddings.dimension.count": call.dimension,
                    "gen_ai.usage.input_tokens": call.usage.tokens or None,
                    "qwen_embed.requests": call.usage.requests,
                    "qwen_embed.retries": call.usage.retries,
                    "qwen_embed.cached": call.usage.cached or None,
                }
                _complete(span, used, call.failure)

    @contextmanager
    def _request(self, tracer: Tracer, request: RequestRecord) -> Iterator[None]:
        attributes: Attributes = {
            "http.request.method": "POST",
            "url.full": self._url,
            **self._server,
            "qwen_embed.texts": request.texts,
        }
        # The conventions leave the path out of the name.
        with _within(_start(tracer, "POST", attributes)) as span:
            try:
                yield
            finally:
                result = {
                    "http.request.resend_count": request.retries or None,
                    "http.response.status_code": request.status,
                    "qwen_embed.request_id": request.request_id,
                    "qwen_embed.tokens": request.tokens or None,
                }
                _complete(span, result, request.failure)


def provider_of(root: str, protocol: ProtocolName) -> str:
    """Return the conventions' name for the provider of the model.

    They define none for the service; Alibaba's own instrumentation uses `dashscope`. For other
    servers with the OpenAI-compatible protocol they recommend `openai`.
    """
    return "dashscope" if belongs_to_service(root, protocol) else "openai"


def _find_tracer() -> Tracer | None:
    # A program that sets a provider has already imported this; the import would take 10 ms.
    if "opentelemetry.trace" not in sys.modules:
        return None
    from opentelemetry.trace import get_tracer  # noqa: PLC0415 -- an optional dependency

    return get_tracer("qwen_embed", __version__)


def _start(tracer: Tracer, name: str, attributes: Attributes) -> Span:
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 -- an optional dependency

    return tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)


def _within(span: Span) -> AbstractContextManager[Span]:
    """Return a context in which new spans are children of this one, and that ends it."""
    from opentelemetry.trace import use_span  # noqa: PLC0415 -- an optional dependency

    # An exception contains the service's message; `_complete` records only its kind and reason.
    return use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False)


def _complete(
    span: Span, attributes: Mapping[str, str | int | None], failure: Failure | None
) -> None:
    span.set_attributes({name: value for name, value in attributes.items() if value is not None})
    if failure is not None:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 -- an optional dependency

        span.set_attribute("error.type", failure.kind)
        span.set_status(StatusCode.ERROR, failure.reason or None)
