"""What a request asks for, whatever the protocol it came by, and the refusal of one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from qwen_embed.models import Model

TextType = Literal["query", "document"]
OutputType = Literal["dense", "sparse", "dense&sparse"]
EncodingFormat = Literal["float", "base64"]


@dataclass(frozen=True)
class Role:
    """What a text is.

    Attributes:
        text_type: Whether it is a document to be found or a query that finds some.
        instruct: The task that a query serves; `None` where there is none and for documents.
    """

    text_type: TextType = "document"
    instruct: str | None = None


DOCUMENT = Role()


@dataclass(frozen=True)
class EmbeddingRequest:
    """A request that is taken.

    Attributes:
        model: The row of the model that it names.
        texts: The texts, none blank.
        roles: What each text is.
        dimension: The length of the vectors.
        tokens: How many tokens the texts have together.
        output_type: Which vectors are wanted.
        encoding_format: How the numbers of a dense vector are printed.
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
    """The refusal of a request, before a protocol gives it its form.

    Attributes:
        status: The HTTP status.
        code: The code: the service's own of the native protocol, or a self-hosted server's type.
        message: The message.
        param: The parameter at fault, where a self-hosted server names it.
    """

    def __init__(self, status: int, code: str, message: str, *, param: str | None = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.param = param
