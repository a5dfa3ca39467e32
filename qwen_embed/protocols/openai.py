"""The OpenAI-compatible protocol as pure functions: builds request bodies, parses responses.

It has no roles, no sparse vectors and no instructions. For models that were trained to recognize
queries by their form, such as Qwen3-Embedding, queries are put into that form.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from qwen_embed.errors import InvalidResponseError
from qwen_embed.protocols.base import (
    Codec,
    DenseRow,
    Parameters,
    ParsedResponse,
    check_lengths,
    encode_body,
    in_order,
)
from qwen_embed.protocols.decoding import TokenCount, checked, checked_row, parse_arrays, parse_json
from qwen_embed.protocols.errors import parse_error
from qwen_embed.types import Output

PATH = "/embeddings"

_TRUNCATE_LOCALLY = (
    "If the server ignores `dimensions`, set truncate_locally=True: longer vectors are then "
    "truncated here and scaled to unit length."
)
_TOO_SHORT = "The model's vectors are shorter: set a smaller dimension."


def build_body(
    texts: Sequence[str],
    parameters: Parameters,
    *,
    encoding_format: Literal["base64", "float"] = "base64",
) -> bytes:
    """Return the body of a request.

    Args:
        texts: The texts.
        parameters: The rest of the request.
        encoding_format: The encoding of the response's numbers: as bytes of float32, which are a
            quarter as long and need no parsing, or printed.

    Raises:
        TextRejectedError: If the body is larger than the service accepts.

    Example:
        >>> build_body(["wind"], Parameters("text-embedding-v4", "document", dimension=64))
        b'{"model":"text-embedding-v4","input":["wind"],"encoding_format":"base64","dimensions":64}'
    """
    if parameters.query_frame is not None and parameters.text_type == "query":
        before, after = parameters.query_frame
        texts = [before + text + after for text in texts]
    body: dict[str, Any] = {
        "model": parameters.model,
        "input": texts,
        "encoding_format": encoding_format,
    }
    if parameters.dimension is not None and not parameters.truncate:
        body["dimensions"] = parameters.dimension
    return encode_body(body)


class _Row(msgspec.Struct):
    """One text's vector, not yet checked, so that an error can name this text."""

    index: int
    embedding: Any

    def __str__(self) -> str:
        return f"The vector of index {self.index}"


class _Usage(msgspec.Struct):
    total_tokens: TokenCount | None = None
    prompt_tokens: TokenCount | None = None


class _Success(msgspec.Struct):
    data: list[_Row] | None = None
    usage: _Usage | None = None
    id: str | int | None = None
    code: str | int | None = None
    error: Any = None


def parse_response(
    body: bytes,
    *,
    count: int,
    dimension: int | None,
    output: Output = "dense",
    arrays: bool = False,
    truncate: bool = False,
) -> ParsedResponse:
    """Return the vectors of a 200 response, in the order of the request's texts.

    Numbers may be base64 or printed: not every server sends what was requested.

    Args:
        body: The response's body.
        count: The number of texts in the request.
        dimension: The expected dimension, or `None` to accept any one that all vectors share.
        output: Ignored: this protocol has only dense vectors.
        arrays: Whether dense vectors may be arrays.
        truncate: Whether to truncate longer vectors to `dimension` and scale them to unit length.

    Raises:
        InvalidResponseError: If there is not exactly one valid vector per text.
        MalformedResponseError: If the body is not complete JSON.
        ServiceError: If the body is an error.
    """
    del output
    parse = parse_arrays if arrays else parse_json
    success = checked(parse(body), _Success)
    if success.error is not None or (success.code and success.data is None):
        raise parse_error(200, {}, body)
    if success.data is None:
        raise InvalidResponseError("The response has no embeddings.")
    indexed = [(row.index, row) for row in success.data]
    rows: list[DenseRow] = [_dense(row) for row in in_order(indexed, count, "index")]
    if truncate and dimension is not None:
        check_lengths(rows, len(rows[0]))
        if len(rows[0]) < dimension:
            check_lengths(rows, dimension, hint=_TOO_SHORT)
        rows = [_unit(np.asarray(row[:dimension], dtype=np.float64)) for row in rows]
    check_lengths(rows, dimension, hint=_TRUNCATE_LOCALLY)
    if not arrays:
        rows = [row if isinstance(row, list) else row.tolist() for row in rows]
    usage = success.usage or _Usage()
    return ParsedResponse(
        dense=rows,
        tokens=usage.total_tokens or usage.prompt_tokens or 0,
        request_id=None if success.id is None else str(success.id),
    )


def _dense(row: _Row) -> DenseRow:
    if not isinstance(row.embedding, str):
        return checked_row(row.embedding, row)
    packed = checked(row.embedding, bytes, row)  # from base64
    if len(packed) % 4:
        raise InvalidResponseError(f"{row} has {len(packed)} bytes, not a multiple of four.")
    values = np.frombuffer(packed, dtype="<f4")
    # If the sum of squares is finite, so are its terms, and it takes a third of the time.
    if not (math.isfinite(np.vdot(values, values)) or np.isfinite(values).all()):
        raise InvalidResponseError(f"{row} has a number that is not finite.")
    return values


def _unit(row: NDArray[np.float64]) -> NDArray[np.float64]:
    norm = math.sqrt(np.vdot(row, row))
    if 1e-100 < norm < math.inf:
        return row / norm
    # The squares are too small or too large for a float.
    largest = np.abs(row).max()
    return _unit(row / largest) if largest else row


OPENAI = Codec(
    PATH,
    build_body,
    parse_response,
    "base64",
    fallback=Codec(PATH, partial(build_body, encoding_format="float"), parse_response, "float"),
)
