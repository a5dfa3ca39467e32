"""Qwen text embeddings: right, fast, cheap and safe."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen_embed.config.vector_cache import VectorCache
from qwen_embed.embedder import QwenEmbedder
from qwen_embed.errors import (
    AccessError,
    AuthenticationError,
    BatchSizeError,
    CertificateError,
    ClosedError,
    ConnectionFailedError,
    DimensionRefusedError,
    InputError,
    InvalidResponseError,
    MalformedResponseError,
    ModelNotFoundError,
    ModerationError,
    PartialFailureError,
    PlainHttpWarning,
    QwenEmbedError,
    RateLimitError,
    RequestError,
    RequestTimeoutError,
    RolesLostWarning,
    ServerError,
    ServiceError,
    TextFailure,
    TextRefusedError,
)
from qwen_embed.explain import SharedToken
from qwen_embed.results import EmbeddingResult
from qwen_embed.usage import Price, Usage
from qwen_embed.version import __version__

if TYPE_CHECKING:
    from qwen_embed.rate_limit.limiter import Limits
    from qwen_embed.sparse import SparseRow, SparseVectors

__all__ = [
    "AccessError",
    "AuthenticationError",
    "BatchSizeError",
    "CertificateError",
    "ClosedError",
    "ConnectionFailedError",
    "DimensionRefusedError",
    "EmbeddingResult",
    "InputError",
    "InvalidResponseError",
    "Limits",
    "MalformedResponseError",
    "ModelNotFoundError",
    "ModerationError",
    "PartialFailureError",
    "PlainHttpWarning",
    "Price",
    "QwenEmbedError",
    "QwenEmbedder",
    "RateLimitError",
    "RequestError",
    "RequestTimeoutError",
    "RolesLostWarning",
    "ServerError",
    "ServiceError",
    "SharedToken",
    "SparseRow",
    "SparseVectors",
    "TextFailure",
    "TextRefusedError",
    "Usage",
    "VectorCache",
    "__version__",
]


_LAZY = {
    "Limits": "qwen_embed.rate_limit.limiter",
    # These load numpy, which importing an adapter must not.
    "SparseRow": "qwen_embed.sparse",
    "SparseVectors": "qwen_embed.sparse",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
