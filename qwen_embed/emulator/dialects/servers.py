"""The backends of the emulator: the dialects that each speaks and the models that it has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

from qwen_embed.emulator.dialects.lm_studio import LmStudio
from qwen_embed.emulator.dialects.native import Native
from qwen_embed.emulator.dialects.openai import Compatible
from qwen_embed.emulator.dialects.qwen3 import QWEN3_MODELS
from qwen_embed.emulator.dialects.request import ApiError, EmbeddingRequest
from qwen_embed.emulator.dialects.responses import Response, Vectors
from qwen_embed.emulator.dialects.tei import Tei
from qwen_embed.emulator.dialects.vllm import Vllm
from qwen_embed.models import MODELS, Model

ServerName = Literal["service", "vllm", "vllm-matryoshka", "vllm-0.10.0", "tei", "lm-studio"]
# Without it `help` would explain `typing.Literal`.
ServerName.__doc__ = """The name of a backend for `Emulator(backend=...)`; see `Emulator`."""
SERVER_NAMES: tuple[ServerName, ...] = get_args(ServerName)


class Dialect(Protocol):
    """One protocol as one server speaks it. Does no I/O.

    Attributes:
        root: The path of the base URL.
        path: The path of the embeddings endpoint.
    """

    @property
    def root(self) -> str:
        """The path of the base URL."""

    @property
    def path(self) -> str:
        """The path of the embeddings endpoint."""

    def read(self, body: object, models: Mapping[str, Model]) -> EmbeddingRequest:
        """Return the request in a body, or raise `ApiError`."""

    def success(
        self, request: EmbeddingRequest, vectors: Vectors, order: Iterable[int]
    ) -> Response:
        """Return the response with the vectors, in the given order of indices."""

    def error(self, error: ApiError) -> Response:
        """Return the error response."""


@dataclass(frozen=True)
class Server:
    """A server that can be emulated.

    Attributes:
        models: Its models, by name.
        openai: Its OpenAI-compatible dialect.
        native: Its native dialect; `None` if it has none.
        api_key: The key that it accepts by default; `None` accepts every request.
    """

    models: Mapping[str, Model]
    openai: Dialect
    native: Dialect | None = None
    api_key: str | None = None

    @property
    def dialects(self) -> tuple[Dialect, ...]:
        """The dialects that it speaks."""
        return (self.openai,) if self.native is None else (self.native, self.openai)

    def dialect_at(self, path: str) -> Dialect:
        """Return the dialect of a path, or the first if the path belongs to none."""
        matching = (each for each in self.dialects if path.startswith(f"{each.root}/"))
        return next(matching, self.dialects[0])


def find_server(name: ServerName) -> Server:
    """Return the server of that name.

    Raises:
        ValueError: When there is no such server.
    """
    if name not in _SERVERS:
        raise ValueError(f"There is no backend {name!r}: use {', '.join(SERVER_NAMES)}.")
    return _SERVERS[name]


_SERVERS: dict[ServerName, Server] = {
    "service": Server(MODELS, Compatible(), Native(), api_key="sk-emulator"),
    "vllm": Server(QWEN3_MODELS, Vllm()),
    "vllm-matryoshka": Server(QWEN3_MODELS, Vllm(matryoshka=True)),
    "vllm-0.10.0": Server(QWEN3_MODELS, Vllm(flat_errors=True)),
    "tei": Server(QWEN3_MODELS, Tei()),
    "lm-studio": Server(QWEN3_MODELS, LmStudio()),
}
