"""Responses ready to be sent, and the parts of them that several protocols share."""

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
    """A response ready to be sent; `code` is its error code, `None` if it has none."""

    status: int
    body: bytes
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": JSON})


@dataclass(frozen=True)
class Vectors:
    """The vectors of a request.

    Attributes:
        dense: Shape `(texts, dimension)`; `None` if only sparse vectors were requested.
        sparse: One sparse vector per text; `None` if only dense vectors were requested.
    """

    dense: NDArray[np.float32] | None
    sparse: Sequence[SparseEntries] | None = None


def json_response(status: int, body: Any, code: str | None = None) -> Response:
    """Return a response with a JSON body."""
    return Response(status, msgspec.json.encode(body), code)


def numbers(dense: NDArray[np.float32]) -> list[list[float]]:
    """Return dense vectors as the service prints them: float32 values as doubles."""
    doubles: list[list[float]] = dense.astype(np.float64).tolist()
    return doubles


def openai_items(
    vectors: Vectors, order: Iterable[int], encoding_format: EncodingFormat
) -> list[dict[str, Any]]:
    """Return the items of `data` in an OpenAI-compatible response.

    Args:
        vectors: The vectors; this protocol has no sparse ones.
        order: The indices of the texts, in the order of their items.
        encoding_format: Printed numbers, or the base64 of little-endian float32.
    """
    if vectors.dense is None:
        return []
    embeddings: Sequence[list[float] | str]
    if encoding_format == "base64":
        float32 = vectors.dense.astype("<f4")
        embeddings = [base64.b64encode(vector.tobytes()).decode() for vector in float32]
    else:
        embeddings = numbers(vectors.dense)
    return [
        {"embedding": embeddings[index], "index": index, "object": "embedding"} for index in order
    ]


def html_response(status: int, body: bytes) -> Response:
    """Return a response with an HTML body, as proxies send it."""
    return Response(status, body, None, {"Content-Type": "text/html"})


def add_headers(response: Response, headers: Mapping[str, str]) -> Response:
    """Return a response with additional headers, which replace its own of the same name."""
    names = {name.lower() for name in headers}
    own = {name: value for name, value in response.headers.items() if name.lower() not in names}
    return Response(response.status, response.body, response.code, {**own, **headers})
