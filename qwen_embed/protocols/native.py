"""The native protocol as pure functions: builds request bodies, parses vectors from responses.

The formats are those of the service's documentation and of recorded responses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

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
from qwen_embed.protocols.decoding import (
    FLOAT32_LIMIT,
    TokenCount,
    checked,
    checked_row,
    parse_arrays,
    parse_json,
)
from qwen_embed.protocols.errors import parse_error
from qwen_embed.sparse import MAX_INDEX, SparseRow, merge_entries
from qwen_embed.types import Output

PATH = "/services/embeddings/text-embedding/text-embedding"


def build_body(texts: Sequence[str], parameters: Parameters) -> bytes:
    """Return the body of a request.

    Raises:
        TextRejectedError: If the body is larger than the service accepts.

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


class _Entry(msgspec.Struct, gc=False):
    index: Annotated[int, msgspec.Meta(ge=0, le=MAX_INDEX)]
    value: Annotated[float, msgspec.Meta(ge=0, lt=FLOAT32_LIMIT)]
    token: str = ""


_ENTRIES = list[_Entry]


class _Row(msgspec.Struct):
    """One text's vectors, not yet checked, so that an error can name this text."""

    text_index: int
    embedding: Any = ()
    sparse_embedding: Any = None

    def __str__(self) -> str:
        return f"The vector of text_index {self.text_index}"


class _Output(msgspec.Struct):
    embeddings: list[_Row]


class _Usage(msgspec.Struct):
    total_tokens: TokenCount | None = None


class _Success(msgspec.Struct):
    output: _Output | None = None
    usage: _Usage | None = None
    request_id: str | None = None
    code: str | None = None


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

    All values are finite numbers; integers become floats. If a sparse vector has an index more than
    once, the largest value counts.

    Args:
        body: The response's body.
        count: The number of texts in the request.
        dimension: The expected dimension, or `None` to accept any one that all vectors share.
        output: Which vectors were requested.
        arrays: Whether dense vectors may be arrays, which saves a float object per value.
        truncate: Ignored: the service returns vectors of the requested dimension.

    Raises:
        InvalidResponseError: If there is not exactly one valid vector per text.
        MalformedResponseError: If the body is not complete JSON.
        ServiceError: If the body is an error; the service may send one with status 200.
    """
    del truncate
    parse = parse_arrays if arrays and output == "dense" else parse_json
    success = checked(parse(body), _Success)
    if success.code:
        raise parse_error(200, {}, body)
    if success.output is None:
        raise InvalidResponseError("The response has no embeddings.")
    indexed = [(row.text_index, row) for row in success.output.embeddings]
    rows = in_order(indexed, count, "text_index")
    dense: list[DenseRow] = []
    if output != "sparse":
        dense = [checked_row(row.embedding, row) for row in rows]
        check_lengths(dense, dimension)
    return ParsedResponse(
        dense=dense,
        sparse=[] if output == "dense" else [_sparse(row) for row in rows],
        tokens=(success.usage and success.usage.total_tokens) or 0,
        request_id=success.request_id,
    )


def _sparse(row: _Row) -> SparseRow:
    if row.sparse_embedding is None:
        raise InvalidResponseError(
            f"The response has no sparse vector for text_index {row.text_index}."
        )
    entries = checked(row.sparse_embedding, _ENTRIES, row)
    largest = {entry.index: (entry.value, entry.token) for entry in entries}
    if len(largest) < len(entries):
        for entry in entries:
            if entry.value > largest[entry.index][0]:
                largest[entry.index] = (entry.value, entry.token)
    return merge_entries(largest)


NATIVE = Codec(PATH, build_body, parse_response)
