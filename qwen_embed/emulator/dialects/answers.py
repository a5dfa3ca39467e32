"""Answers ready to be sent, and what several protocols print in the same way."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.dialects.request import EncodingFormat
from qwen_embed.emulator.vectors.sparse import SparseEntries

JSON = "application/json"


@dataclass(frozen=True)
class Response:
    """An answer ready to be sent; `code` is that of the error, `None` where it has none."""

    status: int
    body: bytes
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


@dataclass(frozen=True)
class Vectors:
    """The vectors that answer a request.

    Attributes:
        dense: Shape `(texts, dimension)`; `None` where only sparse ones were asked for.
        sparse: A row a text; `None` where only dense ones were asked for.
    """

    dense: NDArray[np.float32] | None
    sparse: Sequence[SparseEntries] | None = None


def json_response(status: int, body: Any, code: str | None = None) -> Response:
    """Return an answer with a body of JSON."""
    return Response(status, msgspec.json.encode(body), code)


def numbers(dense: NDArray[np.float32]) -> list[list[float]]:
    """Return dense rows as they are printed: single precision as doubles, up to 20 characters."""
    rows: list[list[float]] = dense.astype(np.float64).tolist()
    return rows


def openai_items(
    vectors: Vectors, order: Iterable[int], encoding_format: EncodingFormat
) -> list[dict[str, Any]]:
    """Return `data` of an OpenAI-compatible answer.

    Args:
        vectors: The vectors; of sparse ones this protocol knows nothing.
        order: The indices of the texts, in the order in which their rows are printed.
        encoding_format: Numbers, or the base64 of them as little-endian float32.
    """
    if vectors.dense is None:
        return []
    rows: Sequence[list[float] | str]
    if encoding_format == "base64":
        packed = vectors.dense.astype("<f4")
        rows = [base64.b64encode(row.tobytes()).decode() for row in packed]
    else:
        rows = numbers(vectors.dense)
    return [{"embedding": rows[index], "index": index, "object": "embedding"} for index in order]


def html_response(status: int, body: bytes) -> Response:
    """Return an answer of HTML, such as the page of a proxy."""
    return Response(status, body, None, {"Content-Type": "text/html"})


def add_headers(answer: Response, headers: Mapping[str, str]) -> Response:
    """Return an answer with more headers, which go before its own, in any capitalisation."""
    names = {name.lower() for name in headers}
    own = {name: value for name, value in answer.headers.items() if name.lower() not in names}
    return Response(answer.status, answer.body, answer.code, {**own, **headers})
