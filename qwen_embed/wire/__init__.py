"""What goes over the wire, as pure functions: nothing here touches a socket or a clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from qwen_embed.wire import compatible, native
from qwen_embed.wire.exchange import (
    MAX_BODY_BYTES,
    Answer,
    DenseRow,
    Output,
    Parameters,
    TextType,
)
from qwen_embed.wire.refusals import parse_refusal

__all__ = [
    "MAX_BODY_BYTES",
    "NATIVE",
    "OPENAI",
    "Answer",
    "DenseRow",
    "Output",
    "Parameters",
    "TextType",
    "Wire",
    "parse_refusal",
]


class BuildBody(Protocol):
    """Makes a request's body."""

    def __call__(self, texts: Sequence[str], parameters: Parameters) -> bytes:
        """Return the body."""


class ParseAnswer(Protocol):
    """Reads a 200 answer; see `native.parse_answer`."""

    def __call__(
        self,
        body: bytes,
        *,
        count: int,
        dimension: int | None,
        output: Output,
        arrays: bool,
        cut: bool,
    ) -> Answer:
        """Return the rows."""


@dataclass(frozen=True)
class Wire:
    """One protocol.

    Attributes:
        path: Where requests go, below the root.
        build_body: Makes a request's body.
        parse_answer: Reads an answer.
        encoding_format: How numbers are asked for, or `None` where there is one way only.
        plainer: What to go on with where a server does not know the encoding asked for.
    """

    path: str
    build_body: BuildBody
    parse_answer: ParseAnswer
    encoding_format: str | None = None
    plainer: Wire | None = None


NATIVE = Wire(native.PATH, native.build_body, native.parse_answer)
OPENAI = Wire(
    compatible.PATH,
    compatible.build_body,
    compatible.parse_answer,
    "base64",
    plainer=Wire(
        compatible.PATH,
        partial(compatible.build_body, encoding_format="float"),
        compatible.parse_answer,
        "float",
    ),
)
