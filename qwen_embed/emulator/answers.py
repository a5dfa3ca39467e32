"""The bytes of an answer: the JSON shapes in which the service prints vectors and errors."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.faults import Failure
from qwen_embed.emulator.rules import RefusalError
from qwen_embed.emulator.sparse import SparseRow


@dataclass(frozen=True)
class Answer:
    """An answer ready to be sent; `code` is that of the service's error, `None` for a success."""

    status: int
    body: bytes
    code: str | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})


def success(
    dense: NDArray[np.float32] | None,
    sparse: Sequence[SparseRow] | None,
    order: Iterable[int],
    tokens: int,
) -> Answer:
    """Return the answer that carries vectors.

    Args:
        dense: Shape `(texts, dimension)`; `None` where only sparse ones were asked for.
        sparse: A row a text; `None` where only dense ones were asked for.
        order: The indices of the texts, in the order in which their rows are printed.
        tokens: The tokens that are charged.
    """
    # The service prints single-precision numbers as doubles, up to 20 characters each.
    rows = None if dense is None else dense.astype(np.float64).tolist()
    embeddings = []
    for index in order:
        embedding: dict[str, Any] = {"text_index": index}
        if rows is not None:
            embedding["embedding"] = rows[index]
        if sparse is not None:
            embedding["sparse_embedding"] = sparse[index]
        embeddings.append(embedding)
    return Answer(
        200,
        _encoded(output={"embeddings": embeddings}, usage={"total_tokens": tokens}),
    )


def refusal(error: RefusalError) -> Answer:
    """Return the answer that carries the service's refusal."""
    return Answer(error.status, _encoded(code=error.code, message=error.message), error.code)


def failure(fault: Failure) -> Answer:
    """Return the answer of a planned failure: the service's JSON, or bytes of its own as HTML."""
    if fault.body is None:
        body = _encoded(code=fault.code, message=fault.message)
        code, content_type = fault.code, "application/json"
    else:
        body, code, content_type = fault.body, None, "text/html"
    names = {name.lower() for name in fault.headers}
    typed = {} if "content-type" in names else {"Content-Type": content_type}
    return Answer(fault.status, body, code, {**typed, **fault.headers})


def _encoded(**body: Any) -> bytes:
    return msgspec.json.encode({**body, "request_id": str(uuid.uuid4())})
