"""The logger `qwen_embed`: one line per call at INFO, one line per request at DEBUG.

A line is formatted only if its level is enabled.
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
    """Logs calls and requests.

    Args:
        limits: Returns the current limits of the account.
    """

    def __init__(self, limits: Callable[[], Limits]) -> None:
        self._limits = limits

    def on_call(self, call: CallRecord) -> AbstractContextManager[RequestHook] | None:
        """Return the context of a call, or `None` if the logger's level is above INFO."""
        return self._call(call) if _LOGGER.isEnabledFor(logging.INFO) else None

    @contextmanager
    def _call(self, call: CallRecord) -> Iterator[RequestHook]:
        try:
            yield partial(self._request, call)
        finally:
            _LOGGER.info(
                "%s, %s: %d texts%s in %d requests (%d retries), %d tokens, %.3f s%s",
                call.model,
                call.text_type,
                call.texts,
                f" ({call.usage.cached} from the cache)" if call.usage.cached else "",
                call.usage.requests,
                call.usage.retries,
                call.usage.tokens,
                call.seconds,
                _reason(call.failure),
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
                "%s, %s: request of %d texts, %d bytes, retry %d: status %s, request_id %s, "
                "%d tokens, %.3f s%s; pace: %s requests/min, %s tokens/min, %d in flight",
                call.model,
                call.text_type,
                request.texts,
                request.size,
                request.retries,
                request.status,
                request.request_id,
                request.tokens,
                request.seconds,
                _reason(request.failure),
                _pace(limits.requests_per_minute),
                _pace(limits.tokens_per_minute),
                limits.concurrency,
            )


def _reason(failure: Failure | None) -> str:
    if failure is None:
        return ""
    return f", {failure.kind}: {failure.reason}" if failure.reason else f", {failure.kind}"


def _pace(per_minute: float | None) -> str:
    return "unknown" if per_minute is None else f"{per_minute:.0f}"
