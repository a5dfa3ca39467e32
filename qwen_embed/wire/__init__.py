"""What goes over the wire, as pure functions: nothing here touches a socket or a clock."""

from qwen_embed.wire.exchange import (
    MAX_BODY_BYTES,
    Answer,
    DenseRow,
    Output,
    Parameters,
    TextType,
)
from qwen_embed.wire.native import PATH, build_body, parse_answer
from qwen_embed.wire.refusals import parse_refusal

__all__ = [
    "MAX_BODY_BYTES",
    "PATH",
    "Answer",
    "DenseRow",
    "Output",
    "Parameters",
    "TextType",
    "build_body",
    "parse_answer",
    "parse_refusal",
]
