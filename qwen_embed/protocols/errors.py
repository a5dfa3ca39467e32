"""Error responses of every protocol as typed errors.

Codes and messages are those of the service's documentation and of recorded responses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import orjson

from qwen_embed.errors import (
    AuthenticationError,
    BatchSizeError,
    ModelNotFoundError,
    ModerationError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    ServiceError,
    TextRejectedError,
    UnsupportedDimensionError,
    UnsupportedEncodingError,
)

_AUTHENTICATION = {"invalidapikey", "invalid_api_key"}
_ACCESS = {
    "arrearage",
    "access_denied",
    "allocationquota.freetieronly",
    "commoditynotpurchased",
    "not authorized",
    "postpaidbilloverdue",
    "prepaidbilloverdue",
}
_MODEL = {
    "modelnotfound",
    "model.notexist",
    "model_not_found",
    "model_not_supported",
    "notfounderror",  # of vLLM
}
_MODERATION = {"datainspectionfailed", "data_inspection_failed"}
_THROTTLED = {"insufficient_quota", "limit_burst_rate", "limit_requests", "limitrequests"}
_THROTTLED_BY: dict[str, Literal["requests", "tokens", "burst"]] = {
    "throttling.allocationquota": "tokens",
    "insufficient_quota": "tokens",
    "throttling.burstrate": "burst",
    "limit_burst_rate": "burst",
}
_SERVER = {
    "modelservicefailed",
    "modelservingerror",
    "modelunavailable",
    "requesttimeout",
    "serviceunavailable",
    "systemerror",
}
# The second alternative is for Text Embeddings Inference: `batch size 33 > maximum allowed batch
# size 32`.
_BATCH_SIZE = re.compile(
    r"batch size is invalid(?:\D*larger than (\d{1,9}))?|maximum allowed batch size (\d{1,9})",
    re.IGNORECASE,
)
# vLLM: `Model "..." does not support matryoshka representation, changing output dimensions ...`.
_DIMENSION = re.compile(
    r"dimension for embedding|matryoshka"
    r"|\bdimensions\b.{0,40}(not (support|permit|allow)|unsupported|invalid)"
    r"|(unknown|unsupported|unexpected|unrecognized|invalid).{0,40}\bdimensions\b",
    re.IGNORECASE,
)
# vLLM before 0.5.2: `base64 encoding is not currently supported`.
_ENCODING = re.compile(r"encoding_format|base64 encoding", re.IGNORECASE)
# The code of this 429 otherwise means throttling; only the message distinguishes them.
_FREE_QUOTA_EXHAUSTED = "free allocated quota exceeded"


def parse_error(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> ServiceError:
    """Return the typed error for a response that is not a success.

    Status and code decide. The message is read only for facts that are given nowhere else: the
    limit of texts per request, an exhausted free tier, and whether a parameter was rejected instead
    of a text. The native and the OpenAI-compatible protocol are parsed in the same way.

    Args:
        status: The HTTP status.
        headers: The response's headers, with names in any case.
        body: The response's body, which need not be JSON.
        now: The time from which an HTTP date in `Retry-After` is counted; by default the clock's.
    """
    if 300 <= status < 400:
        return ServiceError(_redirect(headers), status_code=status)
    members = _members(body)
    error = members.get("error")
    if not isinstance(error, dict):
        error = {"message": error}
    # Self-hosted servers send the status again as an integer code.
    code = _first_text(
        members.get("code"),
        error.get("code"),
        error.get("type"),
        members.get("type"),
        members.get("error_type"),
    )
    message = _first_text(
        members.get("message"),
        error.get("message"),
        _excerpt(body),
        "The service gave no reason.",
    )
    request_id = _first_text(members.get("request_id"), members.get("id"), error.get("id"))
    details: dict[str, Any] = {
        "status_code": status,
        "code": code,
        "request_id": request_id or None,
        "retry_after": _retry_after(headers, now),
    }
    kind = _kind(status, code.lower(), message)
    if kind is BatchSizeError:
        found = _BATCH_SIZE.search(message)
        limit = next(map(int, filter(None, found.groups())), None) if found else None
        return BatchSizeError(message, limit=limit, **details)
    if kind is RateLimitError:
        return RateLimitError(message, quota=_THROTTLED_BY.get(code.lower(), "requests"), **details)
    return kind(message, **details)


def _kind(status: int, code: str, message: str) -> type[ServiceError]:  # noqa: C901, PLR0911 -- a table in order of precedence
    if code in _ACCESS or code.startswith(("accessdenied", "model.accessdenied", "workspace.")):
        return PermissionDeniedError
    if status == 429 and _FREE_QUOTA_EXHAUSTED in message.lower():
        return PermissionDeniedError
    if code in _AUTHENTICATION or status == 401:
        return AuthenticationError
    if code in _MODEL:
        return ModelNotFoundError
    if code in _THROTTLED or code.startswith("throttling") or status == 429:
        return RateLimitError
    if status in (408, 500) or status > 500 or code in _SERVER or code.startswith("internalerror"):
        return ServerError
    if status == 403:
        return PermissionDeniedError
    if code in _MODERATION:
        return ModerationError
    if status in (200, 400, 413, 422) and _BATCH_SIZE.search(message):
        return BatchSizeError
    if status in (200, 400, 422) and _DIMENSION.search(message):
        return UnsupportedDimensionError
    if status in (200, 400, 422) and _ENCODING.search(message):
        return UnsupportedEncodingError
    if status in (200, 400, 413, 422):
        return TextRejectedError
    return ServiceError


def _redirect(headers: Mapping[str, str]) -> str:
    target = next((value for name, value in headers.items() if name.lower() == "location"), "")
    try:
        # Only the host: the rest of the address may be anything.
        host = urlsplit(target).hostname
    except ValueError:
        host = None
    where = f"host {host}" if host else "another address"
    return f"Redirected to {where}; not followed, because the API key would be sent there."


def _members(body: bytes) -> dict[str, Any]:
    try:
        # A message truncated within a character must not hide the code.
        value = orjson.loads(body.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        return {}
    return value if isinstance(value, dict) else {}


def _first_text(*values: Any) -> str:
    return next((value for value in values if isinstance(value, str) and value), "")


def _excerpt(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())


def _retry_after(headers: Mapping[str, str], now: datetime | None) -> float | None:
    lowered = {name.lower(): value.strip() for name, value in headers.items()}
    seconds = _number(lowered.get("retry-after"))
    milliseconds = _number(lowered.get("retry-after-ms"))
    if milliseconds is not None:
        return max(0.0, milliseconds / 1000)
    if seconds is not None:
        return max(0.0, seconds)
    try:
        at = parsedate_to_datetime(lowered["retry-after"])
    except (KeyError, ValueError, TypeError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - (now or datetime.now(timezone.utc))).total_seconds())


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
