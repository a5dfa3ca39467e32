"""What one request asks for and what one answer holds, whatever protocol carries them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from qwen_embed.errors import InvalidResponseError, TextRejectedError
from qwen_embed.sparse import SparseRow
from qwen_embed.types import Output, TextType

DenseRow = list[float] | NDArray[np.float64] | NDArray[np.float32]
T = TypeVar("T")

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
        query_frame: What stands before and after a query where the protocol has no roles; `None`
            where queries go out as they are.
        truncate: Whether rows come in the model's own length and are cut to `dimension` here.
    """

    model: str
    text_type: TextType
    dimension: int | None = None
    instruct: str | None = None
    output: Output = "dense"
    query_frame: tuple[str, str] | None = None
    truncate: bool = False


@dataclass(frozen=True)
class ParsedResponse:
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


class BuildBody(Protocol):
    """Makes a request's body."""

    def __call__(self, texts: Sequence[str], parameters: Parameters) -> bytes:
        """Return the body."""


class ParseResponse(Protocol):
    """Reads a 200 answer; see `native.parse_response`."""

    def __call__(
        self,
        body: bytes,
        *,
        count: int,
        dimension: int | None,
        output: Output,
        arrays: bool,
        truncate: bool,
    ) -> ParsedResponse:
        """Return the rows."""


@dataclass(frozen=True)
class Codec:
    """One protocol.

    Attributes:
        path: Where requests go, below the root.
        build_body: Makes a request's body.
        parse_response: Reads an answer.
        encoding_format: How numbers are asked for, or `None` where there is one way only.
        fallback: What to go on with where a server does not know the encoding asked for.
    """

    path: str
    build_body: BuildBody
    parse_response: ParseResponse
    encoding_format: str | None = None
    fallback: Codec | None = None


def encode_body(body: dict[str, Any]) -> bytes:
    """Return a request's JSON.

    Raises:
        TextRejectedError: If it is larger than the service takes.
    """
    encoded = msgspec.json.encode(body)
    if len(encoded) > MAX_BODY_BYTES:
        raise TextRejectedError("Payload Too Large.", status_code=413, code="BadRequest.TooLarge")
    return encoded


def in_order(answered: Sequence[tuple[int, T]], count: int, index_name: str) -> list[T]:
    """Return what an answer has for each text, in the order of the request's texts.

    Args:
        answered: What it has, each with the place of its text.
        count: How many texts the request had.
        index_name: What the protocol calls that place.

    Raises:
        InvalidResponseError: If any text has nothing, or more than one.
    """
    if len(answered) != count:
        raise InvalidResponseError(f"The answer has {len(answered)} rows for {count} texts.")
    rows = dict(answered)
    try:
        return [rows[index] for index in range(count)]
    except KeyError as error:
        raise InvalidResponseError(f"The answer has no row for {index_name} {error}.") from None


def check_lengths(rows: Sequence[DenseRow], dimension: int | None, hint: str | None = None) -> None:
    """Raise for a row that has not the length that all must have.

    Args:
        rows: At least one row.
        dimension: That length, or `None` where any will do that all share.
        hint: What to do about another length, if anything.

    Raises:
        InvalidResponseError: If a row is longer, shorter or empty.
    """
    due = dimension or len(rows[0])
    for row in rows:
        if len(row) != due or not due:
            raise InvalidResponseError(
                f"The answer has a row of {len(row)} numbers where {due} are due.", hint=hint
            )
