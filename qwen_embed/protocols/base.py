"""The parameters of a request and the parsed response, which all protocols share."""

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
"""The service rejects larger requests with 413."""


@dataclass(frozen=True)
class Parameters:
    """Everything in a request except its texts.

    Attributes:
        model: The model's name.
        text_type: Whether the texts are documents or queries.
        dimension: The dimension of the vectors, or `None` for the model's default.
        instruct: What the search is for; sent with queries only.
        output: Which vectors to request; both kinds together cost the same as one.
        query_frame: The text to put before and after each query if the protocol has no roles;
            `None` if queries are sent as they are.
        truncate: Whether the model returns longer vectors, which are truncated to `dimension` here.
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
    """The content of one response.

    Attributes:
        dense: One dense vector per text, in the order of the request's texts; empty if none were
            requested. Lists, or arrays if those were requested and could be parsed.
        sparse: One sparse vector per text, in the same order; empty if none were requested.
        tokens: The tokens billed.
        request_id: The service's id of the request, or `None`.
    """

    dense: Sequence[DenseRow]
    tokens: int
    request_id: str | None
    sparse: list[SparseRow] = field(default_factory=list)


class BuildBody(Protocol):
    """Builds the body of a request."""

    def __call__(self, texts: Sequence[str], parameters: Parameters) -> bytes:
        """Return the body."""


class ParseResponse(Protocol):
    """Parses a 200 response; see `native.parse_response`."""

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
        """Return the vectors."""


@dataclass(frozen=True)
class Codec:
    """How one protocol writes requests and reads responses.

    Attributes:
        path: The path of requests, below the root.
        build_body: Builds the body of a request.
        parse_response: Parses a response.
        encoding_format: The requested encoding of numbers, or `None` if the protocol has only one.
        fallback: The codec for servers that do not support `encoding_format`.
    """

    path: str
    build_body: BuildBody
    parse_response: ParseResponse
    encoding_format: str | None = None
    fallback: Codec | None = None


def encode_body(body: dict[str, Any]) -> bytes:
    """Return the JSON of a request.

    Raises:
        TextRejectedError: If it is larger than the service accepts.
    """
    encoded = msgspec.json.encode(body)
    if len(encoded) > MAX_BODY_BYTES:
        raise TextRejectedError("Payload Too Large.", status_code=413, code="BadRequest.TooLarge")
    return encoded


def in_order(indexed: Sequence[tuple[int, T]], count: int, index_name: str) -> list[T]:
    """Return the items of a response in the order of the request's texts.

    Args:
        indexed: The items, each with the index of its text.
        count: The number of texts in the request.
        index_name: The protocol's name for that index.

    Raises:
        InvalidResponseError: If there is not exactly one item per text.
    """
    if len(indexed) != count:
        raise InvalidResponseError(f"The response has {len(indexed)} vectors for {count} texts.")
    items = dict(indexed)
    try:
        return [items[index] for index in range(count)]
    except KeyError as error:
        raise InvalidResponseError(
            f"The response has no vector for {index_name} {error}."
        ) from None


def check_lengths(rows: Sequence[DenseRow], dimension: int | None, hint: str | None = None) -> None:
    """Raise unless all vectors have the expected dimension.

    Args:
        rows: At least one vector.
        dimension: The expected dimension, or `None` to accept any one that all vectors share.
        hint: What to do about another dimension, if anything.

    Raises:
        InvalidResponseError: If a vector is longer, shorter or empty.
    """
    expected = dimension or len(rows[0])
    if not expected:
        raise InvalidResponseError("The response has an empty vector.", hint=hint)
    for row in rows:
        if len(row) != expected:
            raise InvalidResponseError(
                f"The response has a vector of the wrong length: expected {expected} dimensions, "
                f"got {len(row)}.",
                hint=hint,
            )
