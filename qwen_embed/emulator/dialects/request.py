"""An embedding request and an API error, independent of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwen_embed.models import Model

TextType = Literal["query", "document"]
OutputType = Literal["dense", "sparse", "dense&sparse"]
EncodingFormat = Literal["float", "base64"]


@dataclass(frozen=True)
class Role:
    """The role of a text.

    Attributes:
        text_type: Whether the text is a query or a document.
        instruct: The task instruction of a query; `None` for a document.
    """

    text_type: TextType = "document"
    instruct: str | None = None


DOCUMENT = Role()


@dataclass(frozen=True)
class EmbeddingRequest:
    """A valid request.

    Attributes:
        model: The model.
        texts: The texts, none blank.
        roles: The role of each text.
        dimension: The requested length of the vectors.
        tokens: The total number of tokens.
        output_type: Which vectors are requested.
        encoding_format: How the numbers of a dense vector are encoded.
        truncated_from: The length of the vectors before truncation to `dimension` (as with a
            Matryoshka model); `None` if they are computed at `dimension` directly.
    """

    model: Model
    texts: tuple[str, ...]
    roles: tuple[Role, ...]
    dimension: int
    tokens: int
    output_type: OutputType = "dense"
    encoding_format: EncodingFormat = "float"
    truncated_from: int | None = None


class ApiError(Exception):
    """An error that is sent as a response, before a dialect formats it.

    Attributes:
        status: The HTTP status.
        code: The error code of the native protocol, or the error type of a self-hosted server.
        message: The message.
        param: The invalid parameter, if a self-hosted server names it.
    """

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.param = param
