"""What the core's calls return."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qwen_embed.usage import Usage

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from qwen_embed.sparse import SparseVectors


@dataclass(frozen=True)
class EmbeddingResult:
    """Vectors, one row a text, in the order of the texts.

    Attributes:
        dense: float32 array of shape `(n, dimension)`, or `None` where none was asked for.
        sparse: The sparse rows, or `None` where none were asked for.
        usage: What the call used.
    """

    dense: NDArray[np.float32] | None
    sparse: SparseVectors | None
    usage: Usage
