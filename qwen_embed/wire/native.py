"""The native protocol as pure functions: texts and options to a body, answers to rows or an error.

Shapes are those of the service's documentation and of recorded answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import orjson

from qwen_embed.errors import InvalidResponseError
from qwen_embed.sparse import MAX_INDEX, SparseRow, merge_entries
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

try:
    import simdjson
except ImportError:  # no wheel for this Python
    simdjson = None  # type: ignore[assignment]

PATH = "/services/embeddings/text-embedding/text-embedding"


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
    return encode_body(
        {"model": parameters.model, "input": {"texts": texts}, "parameters": options}
    )


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

    A vector's values are finite numbers and nothing else; whole numbers become floats. Where a
    sparse row repeats an index, the largest value counts.

    Args:
        body: The answer's body.
        count: How many texts the request had.
        dimension: The length that every row must have, or `None` where any will do that all share.
        output: Which vectors were asked for.
        arrays: Whether dense rows may be arrays, which are read without a float object for each
            value.
        cut: Never: the service makes vectors of the length that is asked for.

    Raises:
        InvalidResponseError: If the answer is not one whole row for each text.
        MalformedResponseError: If the body is not whole JSON.
        ServiceError: If the body is a refusal all the same: the service may send one with 200.
    """
    del cut
    success = None
    if output == "dense":
        success = _read_arrays(body) if arrays and simdjson is not None else _read_lists(body)
    if success is None or success.code:
        success = decode_checked(_SUCCESS, body)
    if success.code:
        raise parse_refusal(200, {}, body)
    if success.output is None:
        raise InvalidResponseError("The answer holds no embeddings.")
    answered = [(row.text_index, row) for row in success.output.embeddings]
    rows = in_order(answered, count, "text_index")
    dense: list[DenseRow] = []
    if output != "sparse":
        dense = [row.embedding for row in rows]
        check_lengths(dense, dimension)
    return Answer(
        dense=dense,
        sparse=[] if output == "dense" else [_sparse(row) for row in rows],
        tokens=success.usage.total_tokens if success.usage else 0,
        request_id=success.request_id,
    )


def _read_lists(body: bytes) -> _Success | None:
    """Return an answer whose rows are certainly lists of floats, or `None` where that is not sure.

    It takes two thirds of the time of `decode_checked`. A value is certainly a float if a sum takes
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
