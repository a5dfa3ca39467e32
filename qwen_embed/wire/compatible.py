"""The OpenAI-compatible protocol as pure functions: texts to a body, answers to rows or an error.

It has no roles, no sparse vectors and no instructions. Queries may stand in a frame of words, by
which a model that was trained so tells them from documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from qwen_embed.errors import InvalidResponseError
from qwen_embed.wire.exchange import (
    Answer,
    DenseRow,
    Output,
    Parameters,
    check_lengths,
    decode_checked,
    encode_body,
    in_order,
)
from qwen_embed.wire.refusals import parse_refusal

PATH = "/embeddings"

_CUT_HERE = (
    "If the server takes no notice of `dimensions`, set dimension_by='client': longer rows are "
    "then cut here and scaled to unit length."
)
_TOO_SHORT = "The model makes shorter vectors: ask for a smaller dimension."


def build_body(
    texts: Sequence[str],
    parameters: Parameters,
    *,
    encoding_format: Literal["base64", "float"] = "base64",
) -> bytes:
    """Return the body of a request.

    Args:
        texts: The texts, as they were given.
        parameters: What is asked for besides.
        encoding_format: How the numbers are to come: as the bytes of float32, which are a quarter
            as long and need no parsing, or printed.

    Raises:
        TextRefusedError: If the body is larger than the service takes.

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
    if parameters.dimension is not None and not parameters.cut:
        body["dimensions"] = parameters.dimension
    return encode_body(body)


class _Row(msgspec.Struct):
    index: int
    embedding: bytes | list[float]  # base64 comes as the bytes that it stands for


class _Usage(msgspec.Struct):
    total_tokens: int | None = None
    prompt_tokens: int | None = None


class _Success(msgspec.Struct):
    data: list[_Row] | None = None
    usage: _Usage | None = None
    id: str | int | None = None
    code: str | int | None = None
    error: Any = None


_SUCCESS = msgspec.json.Decoder(_Success)


def parse_answer(
    body: bytes,
    *,
    count: int,
    dimension: int | None,
    output: Output = "dense",
    arrays: bool = False,
    cut: bool = False,
) -> Answer:
    """Return the rows of a 200 answer, in the order of the request's texts.

    Numbers may come as base64 or printed, whatever was asked for: servers differ.

    Args:
        body: The answer's body.
        count: How many texts the request had.
        dimension: The length that every row must have, or `None` where any will do that all share.
        output: Which vectors were asked for: this protocol has dense ones only.
        arrays: Whether dense rows may be arrays.
        cut: Whether longer rows are cut to `dimension` and scaled to unit length.

    Raises:
        InvalidResponseError: If the answer is not one whole row for each text.
        MalformedResponseError: If the body is not whole JSON.
        ServiceError: If the body is a refusal all the same.
    """
    del output
    success = decode_checked(_SUCCESS, body)
    if success.error is not None or (success.code and success.data is None):
        raise parse_refusal(200, {}, body)
    if success.data is None:
        raise InvalidResponseError("The answer holds no embeddings.")
    answered = [(row.index, row.embedding) for row in success.data]
    read = [_read(embedding) for embedding in in_order(answered, count, "index")]
    rows: list[DenseRow] = [*read]
    if cut and dimension is not None:
        check_lengths(rows, len(read[0]))
        if len(read[0]) < dimension:
            check_lengths(rows, dimension, hint=_TOO_SHORT)
        rows = [_unit(np.asarray(row)[:dimension]) for row in read]
    check_lengths(rows, dimension, hint=_CUT_HERE)
    if not arrays:
        rows = [row if isinstance(row, list) else row.tolist() for row in rows]
    usage = success.usage or _Usage()
    return Answer(
        dense=rows,
        tokens=usage.total_tokens or usage.prompt_tokens or 0,
        request_id=None if success.id is None else str(success.id),
    )


def _read(embedding: bytes | list[float]) -> NDArray[np.float32] | list[float]:
    if isinstance(embedding, list):
        return embedding
    try:
        row = np.frombuffer(embedding, dtype="<f4")
    except ValueError:
        message = f"The answer has a row of {len(embedding)} bytes, which are no float32 numbers."
        raise InvalidResponseError(message) from None
    if not np.isfinite(row).all():
        raise InvalidResponseError("The answer has a number that is not finite.")
    return row


def _unit(row: NDArray[Any]) -> NDArray[Any]:
    norm = np.linalg.norm(row)
    return row / norm if norm else row
