"""The results of calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from qwen_embed.errors import PartialFailureError, RequestError, TextFailure
from qwen_embed.usage import Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwen_embed.sparse import SparseVectors

R = TypeVar("R")


@dataclass(frozen=True)
class CallResult(Generic[R]):
    """The outcome of one call.

    Attributes:
        rows: One vector per text, in input order; those of failed texts are marked.
        failures: The texts that failed.
        count: The number of texts.
        usage: What the call used.
    """

    rows: R
    failures: Sequence[TextFailure]
    count: int
    usage: Usage

    @property
    def error(self) -> PartialFailureError | RequestError | None:
        """The error to raise if texts failed, otherwise `None`."""
        if not self.failures:
            return None
        return PartialFailureError.of(self.failures, result=self.rows, count=self.count)

    def unwrap(self) -> R:
        """Return the vectors of all texts, or raise `error` if texts failed."""
        error = self.error
        if error is not None:
            raise error
        return self.rows


@dataclass(frozen=True)
class EmbeddingResult:
    """One vector per text, in input order.

    Attributes:
        dense: float32 array of shape `(n, dimension)`, or `None` if not requested.
        sparse: The sparse vectors, or `None` if not requested.
        usage: What the call used.

    Example:
        >>> from qwen_embed import QwenEmbedder
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     options = {"api_key": service.api_key, "base_url": service.native_url}
        ...     with QwenEmbedder(dimension=256, output="dense&sparse", **options) as embedder:
        ...         result = embedder.embed_documents(["The wind rises.", "Cats like milk."])
        >>> result.dense.shape, len(result.sparse), result.usage.requests
        ((2, 256), 2, 1)
    """

    dense: NDArray[np.float32] | None
    sparse: SparseVectors | None
    usage: Usage
