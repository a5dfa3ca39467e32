"""What the logger `qwen_embed` says: a line for each call at INFO, one for each request at DEBUG.

Nothing is put into words unless the level asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

from qwen_embed.rate_limit.limiter import Limits
from qwen_embed.telemetry.events import CallRecord, Failure, RequestHook, RequestRecord

_LOGGER = logging.getLogger("qwen_embed")
_LOGGER.addHandler(logging.NullHandler())


class Log:
    """Tells the log of calls and requests.

    Args:
        limits: Returns what the account is taken to allow at the moment.
    """

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits

    def listen(self, call: CallRecord) -> AbstractContextManager[RequestHook] | None:
        """Return the context of a call, or `None` where the logger's level lets nothing pass."""
        return self._call(call) if _LOGGER.isEnabledFor(logging.INFO) else None

    @contextmanager
    def _call(self, call: CallRecord) -> Iterator[RequestHook]:
        try:
            yield partial(self._request, call)
        finally:
            _LOGGER.info(
                "%s, %s: %d texts%s in %d requests (%d repeated), %d tokens, %.3f s%s",
                call.model,
                call.text_type,
                call.texts,
                f" ({call.usage.cached} from the cache)" if call.usage.cached else "",
                call.usage.requests,
                call.usage.retries,
                call.usage.tokens,
                call.seconds,
                _told(call.failure),
            )

    def _request(self, call: CallRecord, request: RequestRecord) -> AbstractContextManager[None]:
        if not _LOGGER.isEnabledFor(logging.DEBUG):
            return nullcontext()
        return self._request_in_detail(call, request)

    @contextmanager
    def _request_in_detail(self, call: CallRecord, request: RequestRecord) -> Iterator[None]:
        try:
            yield
        finally:
            limits = self._limits()
            _LOGGER.debug(
                "%s, %s: request of %d texts, %d bytes, repeat %d: status %s, request_id %s, "
                "%d tokens, %.3f s%s; pace: %s requests/min, %s tokens/min, %d in flight",
                call.model,
                call.text_type,
                request.texts,
                request.size,
                request.repeats,
                request.status,
                request.request_id,
                request.tokens,
                request.seconds,
                _told(request.failure),
                _pace(limits.requests_per_minute),
                _pace(limits.tokens_per_minute),
                limits.concurrency,
            )


def _told(failure: Failure | None) -> str:
    if failure is None:
        return ""
    return f", {failure.kind}: {failure.reason}" if failure.reason else f", {failure.kind}"


def _pace(per_minute: float | None) -> str:
    return "unknown" if per_minute is None else f"{per_minute:.0f}"
