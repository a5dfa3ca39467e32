"""What a session is built from, each made as the options say.

This module loads aiohttp and numpy, so it is imported with the first call.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from hashlib import blake2b
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from qwen_embed.config.endpoints import is_service
from qwen_embed.config.sdk_clients import recognize
from qwen_embed.config.settings import EmbeddingSettings
from qwen_embed.config.vector_cache import VectorCache
from qwen_embed.models import find_model
from qwen_embed.pipeline.dispatcher import Dispatcher
from qwen_embed.pipeline.retry import RetryPolicy
from qwen_embed.process.fork_safety import no_fork
from qwen_embed.protocols.base import Codec
from qwen_embed.protocols.hints import hint_for
from qwen_embed.protocols.native import NATIVE
from qwen_embed.protocols.openai import OPENAI
from qwen_embed.rate_limit.account import Account, Quota
from qwen_embed.rate_limit.limiter import Admit, Limiter, Limits, SharedLimiter, limits_of
from qwen_embed.runtime import event_loop
from qwen_embed.telemetry.tracing import Tracing, provider_of
from qwen_embed.transports.base import Transport
from qwen_embed.transports.custom import CustomTransport
from qwen_embed.transports.default import AiohttpTransport

if TYPE_CHECKING:
    from qwen_embed.caching.collector import Cache

_DIGEST_KEY = secrets.token_bytes(16)


def build_dispatcher(settings: EmbeddingSettings, limiter: Limiter) -> Dispatcher:
    """Return the dispatcher that the options describe."""
    root, _ = settings.resolved
    return Dispatcher(
        codec=codec_of(settings),
        transport=build_transport(settings),
        limiter=limiter,
        retry=RetryPolicy(settings.max_retries, random=random.random),
        sleep=asyncio.sleep,
        hint_for=lambda error: hint_for(
            error,
            model=settings.model,
            root=root,
            region=settings.region,
            protocol=settings.protocol or "native",
        ),
        batch_size=settings.batch_size or find_model(settings.model).texts_per_request,
        max_concurrency=settings.max_concurrency,
        max_request_tokens=settings.max_request_tokens,
    )


def build_tracing(settings: EmbeddingSettings) -> Tracing:
    """Return what makes spans of calls and requests."""
    root, codec = settings.resolved[0], codec_of(settings)
    return Tracing(
        root + codec.path,
        provider=provider_of(root, settings.protocol or "native"),
        encoding_format=codec.encoding_format,
    )


def codec_of(settings: EmbeddingSettings) -> Codec:
    """Return the protocol that is spoken."""
    return NATIVE if settings.protocol == "native" else OPENAI


def build_transport(settings: EmbeddingSettings) -> Transport:
    """Return what carries the requests: our own transport, or one over the user's client."""
    root, api_key = settings.resolved
    if settings.client is not None:
        with no_fork():
            # Loads nothing heavy, but is of use to few.
            from qwen_embed.transports.sdk import transport_over  # noqa: PLC0415

        return transport_over(
            recognize(settings.client),
            timeout=settings.timeout,
            connections=settings.max_concurrency,
        )
    if settings.transport is not None:
        return CustomTransport(settings.transport, api_key=api_key, timeout=settings.timeout)
    return AiohttpTransport(
        root,
        api_key=api_key,
        workspace=settings.workspace,
        timeout=settings.timeout,
        connect_timeout=settings.connect_timeout,
        gzip=settings.gzip,
        connections=settings.max_concurrency,
    )


def build_limiter(
    settings: EmbeddingSettings, on: event_loop.BackgroundLoop, admit: Admit | None
) -> Limiter:
    """Return an object's limiter. All objects of its account and model share the quotas."""
    key = _account_key(settings)
    if key not in on.shared:
        on.shared[key] = SharedLimiter(
            Account(_published(settings)), clock=time.monotonic, call_later=on.call_later
        )
    return Limiter(
        on.shared[key],
        max_concurrency=settings.max_concurrency,
        configured=_configured(settings),
        admit=admit,
    )


def open_cache(settings: EmbeddingSettings) -> Cache | None:
    """Return the cache of vectors, or `None` where there is none."""
    if not isinstance(settings.cache, VectorCache):
        return None
    with no_fork():
        # Loads SQLite, which nothing else needs.
        from qwen_embed.caching.collector import Cache  # noqa: PLC0415

    return Cache(settings.cache, settings.vector_options, settings.dimension)


def known_limits(settings: EmbeddingSettings) -> Limits:
    """Return what the account is known to allow an object that has sent nothing yet."""
    running = event_loop.started()
    shared = running.shared.get(_account_key(settings)) if running else None
    account = shared.account if isinstance(shared, SharedLimiter) else None
    return limits_of(account, settings.max_concurrency, _configured(settings))


def _account_key(settings: EmbeddingSettings) -> tuple[str, str, bytes]:
    # The host alone: whatever protocol is spoken, the quotas are the same.
    root, api_key = settings.resolved
    # A digest that means nothing in another process: the key itself is in as few places as can be.
    digest = blake2b(api_key.get_secret_value().encode(), key=_DIGEST_KEY).digest()
    return urlsplit(root).netloc, settings.model, digest


def _configured(settings: EmbeddingSettings) -> dict[Quota, float]:
    per_minute: dict[Quota, float | None] = {
        "requests": settings.requests_per_minute,
        "tokens": settings.tokens_per_minute,
    }
    return {quota: each / 60 for quota, each in per_minute.items() if each is not None}


def _published(settings: EmbeddingSettings) -> dict[Quota, float] | None:
    """Return the limits that the service publishes; of another host nothing is known."""
    limits = find_model(settings.model).rate_limits.get(settings.region or "")
    if limits is None or not is_service(settings.resolved[0]):
        return None
    return {"requests": limits.requests_per_minute / 60, "tokens": limits.tokens_per_minute / 60}
