"""The native protocol as pure functions: texts and options to a body, answers to rows or an error.

Shapes, codes and messages are those of the service's documentation and of recorded answers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray

from qwen_embed.errors import (
    AccessError,
    AuthenticationError,
    BatchSizeError,
    InvalidResponseError,
    MalformedResponseError,
    ModelNotFoundError,
    ModerationError,
    RateLimitError,
    ServerError,
    ServiceError,
    TextRefusedError,
)
from qwen_embed.sparse import MAX_INDEX, SparseRow, merge_entries

try:
    import simdjson
except ImportError:  # no wheel for this Python
    simdjson = None  # type: ignore[assignment]

TextType = Literal["document", "query"]
Output = Literal["dense", "sparse", "dense&sparse"]
DenseRow = list[float] | NDArray[np.float64]

PATH = "/services/embeddings/text-embedding/text-embedding"
MAX_BODY_BYTES = 16 * 1024 * 1024
"""The service answers 413 above this."""


@dataclass(frozen=True)
class Parameters:
    """What a request asks for besides its texts.

    Attributes:
        model: The model's name.
        text_type: Whether the texts are documents to be found or queries that find them.
        dimension: The length of the vectors, or `None` for the model's own.
        instruct: What the search is for. It has effect with queries only and is sent with no other.
        output: Which vectors are asked for; both cost what one costs.
    """

    model: str
    text_type: TextType
    dimension: int | None = None
    instruct: str | None = None
    output: Output = "dense"


@dataclass(frozen=True)
class Answer:
    """What the service answered to one request.

    Attributes:
        dense: One row of floats a text, in the order of the request's texts; empty where none were
            asked for. Lists, or arrays where those were asked for and could be read.
        sparse: One sparse row a text, likewise.
        tokens: The tokens that were billed.
        request_id: The service's name for the request, or `None`.
    """

    dense: Sequence[DenseRow]
    tokens: int
    request_id: str | None
    sparse: list[SparseRow] = field(default_factory=list)


def build_body(texts: Sequence[str], parameters: Parameters) -> bytes:
    """Return the body of a request.

    Raises:
        TextRefusedError: If the body is larger than the service takes.

    Example:
        >>> build_body(["wind"], Parameters("text-embedding-v4", "document", dimension=64))
        b'{"model":"text-embedding-v4","input":{"texts":["wind"]},"parameters":{"text_type":"document","dimension":64}}'
    """
    options: dict[str, Any] = {"text_type": parameters.text_type}
    if parameters.dimension is not None:
        options["dimension"] = parameters.dimension
    if parameters.instruct is not None and parameters.text_type == "query":
        options["instruct"] = parameters.instruct
    if parameters.output != "dense":
        options["output_type"] = parameters.output
    body = msgspec.json.encode(
        {"model": parameters.model, "input": {"texts": texts}, "parameters": options}
    )
    if len(body) > MAX_BODY_BYTES:
        raise TextRefusedError("Payload Too Large.", status_code=413, code="BadRequest.TooLarge")
    return body


class _Entry(msgspec.Struct):
    index: int
    value: float
    token: str = ""


class _Row(msgspec.Struct):
    text_index: int
    embedding: list[float] = []  # or an array, where `_read_arrays` made it
    sparse_embedding: list[_Entry] | None = None


class _Output(msgspec.Struct):
    embeddings: list[_Row]


class _Usage(msgspec.Struct):
    total_tokens: int = 0


class _Success(msgspec.Struct):
    output: _Output | None = None
    usage: _Usage | None = None
    request_id: str | None = None
    code: str | None = None


class _CompatibleError(msgspec.Struct):
    message: str | None = None
    code: str | None = None
    type: str | None = None
    id: str | None = None


class _Refusal(msgspec.Struct):
    code: str | None = None
    message: str | None = None
    request_id: str | None = None
    id: str | None = None
    error: _CompatibleError | str | None = None


_SUCCESS = msgspec.json.Decoder(_Success)
_REFUSAL = msgspec.json.Decoder(_Refusal)


def parse_answer(
    body: bytes,
    *,
    count: int,
    dimension: int | None,
    output: Output = "dense",
    arrays: bool = False,
) -> Answer:
    """Return the rows of a 200 answer, in the order of the request's texts.

    A vector's values are finite numbers and nothing else; whole numbers become floats. Where a
    sparse row repeats an index, the largest value counts.

    Args:
        body: The answer's body.
        count: How many texts the request had.
        dimension: The length that every row must have, or `None` where any will do that all share.
        output: Which vectors were asked for.
        arrays: Whether dense rows may be arrays, which are read without a float object for each
            value.

    Raises:
        InvalidResponseError: If the answer is not one whole row for each text.
        MalformedResponseError: If the body is not whole JSON.
        ServiceError: If the body is a refusal all the same: the service may send one with 200.
    """
    success = None
    if output == "dense":
        success = _read_arrays(body) if arrays and simdjson is not None else _read_lists(body)
    if success is None or success.code:
        success = _read_checked(body)
    if success.code:
        raise parse_refusal(200, {}, body)
    if success.output is None:
        raise InvalidResponseError("The answer holds no embeddings.")
    rows = _in_order(success.output.embeddings, count)
    return Answer(
        dense=[] if output == "sparse" else _dense(rows, dimension),
        sparse=[] if output == "dense" else [_sparse(row) for row in rows],
        tokens=success.usage.total_tokens if success.usage else 0,
        request_id=success.request_id,
    )


def _read_checked(body: bytes) -> _Success:
    """Return an answer of which every value was checked, or raise for what is wrong with it."""
    try:
        return _SUCCESS.decode(body)
    except msgspec.ValidationError as error:
        raise InvalidResponseError(f"The answer is not of the promised form: {error}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedResponseError(f"The answer is not whole JSON: {error}.") from None


def _read_lists(body: bytes) -> _Success | None:
    """Return an answer whose rows are certainly lists of floats, or `None` where that is not sure.

    It takes two thirds of the time of `_read_checked`. A value is certainly a float if a sum takes
    it and it is printed with a point.
    """
    try:
        answer = orjson.loads(body)
        rows = [_Row(row["text_index"], row["embedding"]) for row in answer["output"]["embeddings"]]
        for row in rows:
            sum(row.embedding)
        success = _with_rows(answer, rows)
    except (ValueError, TypeError, LookupError):
        return None
    first, last = body.find(b"["), body.rfind(b"]")
    points = np.count_nonzero(np.frombuffer(body, np.uint8)[first:last] == ord("."))
    certain = points == sum(len(row.embedding) for row in rows)
    return success if certain and all(type(row.embedding) is list for row in rows) else None


def _read_arrays(body: bytes) -> _Success | None:
    """Return an answer whose rows are arrays of float64, or `None` where it is not as promised."""
    try:
        answer: Any = simdjson.Parser().parse(body)
        rows = [
            _Row(row["text_index"], _array(row["embedding"].as_buffer(of_type="d")))
            for row in answer["output"]["embeddings"]
        ]
        usage = answer.get("usage")
        rest = {"request_id": answer.get("request_id"), "code": answer.get("code")}
        if usage is not None:
            rest["usage"] = usage.as_dict()
        success = _with_rows(rest, rows)
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    # A list within a row would be read as if its values were the row's.
    return success if body.count(b"[") == len(rows) + 1 else None


def _array(doubles: Any) -> Any:
    return np.frombuffer(doubles)


def _with_rows(answer: Mapping[str, Any], rows: list[_Row]) -> _Success:
    """Return an answer with rows that were read apart; all else is checked here."""
    success = msgspec.convert({**answer, "output": None}, _Success)
    success.output = _Output(rows)
    if any(type(row.text_index) is not int for row in rows):
        raise TypeError("text_index")
    return success


def _in_order(answered: list[_Row], count: int) -> list[_Row]:
    if len(answered) != count:
        raise InvalidResponseError(f"The answer has {len(answered)} rows for {count} texts.")
    rows = {row.text_index: row for row in answered}
    try:
        return [rows[index] for index in range(count)]
    except KeyError as error:
        raise InvalidResponseError(f"The answer has no row for text_index {error}.") from None


def _dense(rows: list[_Row], dimension: int | None) -> list[DenseRow]:
    due = dimension or len(rows[0].embedding)
    for row in rows:
        if len(row.embedding) != due or not due:
            raise InvalidResponseError(
                f"The answer has a row of {len(row.embedding)} numbers where {due} are due."
            )
    return [row.embedding for row in rows]


def _sparse(row: _Row) -> SparseRow:
    if row.sparse_embedding is None:
        raise InvalidResponseError(f"The answer has no sparse row for text_index {row.text_index}.")
    largest: dict[int, tuple[float, str]] = {}
    for entry in row.sparse_embedding:
        if not 0 <= entry.index <= MAX_INDEX or entry.value < 0:
            raise InvalidResponseError(
                f"The answer has a sparse entry of index {entry.index} and value {entry.value}."
            )
        if entry.index not in largest or entry.value > largest[entry.index][0]:
            largest[entry.index] = (entry.value, entry.token)
    return merge_entries(largest)


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
_MODEL = {"modelnotfound", "model.notexist", "model_not_found", "model_not_supported"}
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
_BATCH_SIZE = re.compile(r"batch size is invalid(?:\D*larger than (\d+))?", re.IGNORECASE)
# A 429 with a code that else means throttling, told apart by nothing but its words.
_FREE_QUOTA_GONE = "free allocated quota exceeded"


def parse_refusal(
    status: int, headers: Mapping[str, str], body: bytes, *, now: datetime | None = None
) -> ServiceError:
    """Return the typed error for an answer that is not a success.

    It is told by status and code, never by the words of the message, but for the two facts that
    the service gives in no other way: the cap on texts, and a free quota that is gone. Bodies of
    the native and of the OpenAI-compatible protocol are read alike.

    Args:
        status: The HTTP status.
        headers: The answer's headers, with names in any case.
        body: The answer's body, which need not be JSON.
        now: The time that an HTTP date in `Retry-After` is counted from; the clock's if not given.
    """
    if 300 <= status < 400:
        return ServiceError(_redirect(headers), status_code=status)
    try:
        refusal = _REFUSAL.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        refusal = _Refusal()
    error = refusal.error
    if not isinstance(error, _CompatibleError):
        error = _CompatibleError(message=error)
    code = refusal.code or error.code or error.type or ""
    message = refusal.message or error.message or _excerpt(body) or "The service gave no reason."
    details: dict[str, Any] = {
        "status_code": status,
        "code": code,
        "request_id": refusal.request_id or refusal.id or error.id,
        "retry_after": _retry_after(headers, now),
    }
    kind = _kind(status, code.lower(), message)
    if kind is BatchSizeError:
        found = _BATCH_SIZE.search(message)
        limit = int(found[1]) if found and found[1] else None
        return BatchSizeError(message, limit=limit, **details)
    if kind is RateLimitError:
        return RateLimitError(message, quota=_THROTTLED_BY.get(code.lower(), "requests"), **details)
    return kind(message, **details)


def _kind(status: int, code: str, message: str) -> type[ServiceError]:  # noqa: C901, PLR0911 -- a table in order of precedence
    if code in _ACCESS or code.startswith(("accessdenied", "model.accessdenied", "workspace.")):
        return AccessError
    if status == 429 and _FREE_QUOTA_GONE in message.lower():
        return AccessError
    if code in _AUTHENTICATION or status == 401:
        return AuthenticationError
    if code in _MODEL:
        return ModelNotFoundError
    if code in _THROTTLED or code.startswith("throttling") or status == 429:
        return RateLimitError
    if status in (408, 500) or status > 500 or code in _SERVER or code.startswith("internalerror"):
        return ServerError
    if status == 403:
        return AccessError
    if code in _MODERATION:
        return ModerationError
    if status in (200, 400) and _BATCH_SIZE.search(message):
        return BatchSizeError
    if status in (200, 400, 413, 422):
        return TextRefusedError
    return ServiceError


def _redirect(headers: Mapping[str, str]) -> str:
    target = next((value for name, value in headers.items() if name.lower() == "location"), "")
    # No more of the address than its host: the rest may be anything.
    host = urlsplit(target).hostname
    where = f"host {host}" if host else "another address"
    return f"Redirected to {where}, which was not followed, since the key would go along."


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
    except (KeyError, ValueError, TypeError):
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
