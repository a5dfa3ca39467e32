"""Qwen text embeddings: right, fast, cheap and safe."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from qwen_embed.config.vector_cache import VectorCache
from qwen_embed.embedder import QwenEmbedder
from qwen_embed.errors import (
    AuthenticationError,
    BatchSizeError,
    CertificateError,
    ClosedError,
    ConnectionFailedError,
    InputError,
    InsecureHttpWarning,
    InvalidResponseError,
    MalformedResponseError,
    ModelNotFoundError,
    ModerationError,
    PartialFailureError,
    PermissionDeniedError,
    QueryRoleWarning,
    QwenEmbedError,
    RateLimitError,
    RequestError,
    RequestTimeoutError,
    ServerError,
    ServiceError,
    TextFailure,
    TextRejectedError,
    UnsupportedDimensionError,
)
from qwen_embed.explain import SharedToken
from qwen_embed.results import EmbeddingResult
from qwen_embed.usage import Price, Usage
from qwen_embed.version import __version__

if TYPE_CHECKING:
    from qwen_embed.rate_limit.limiter import Limits
    from qwen_embed.sparse import SparseRow, SparseVectors

__all__ = [
    "AuthenticationError",
    "BatchSizeError",
    "CertificateError",
    "ClosedError",
    "ConnectionFailedError",
    "EmbeddingResult",
    "InputError",
    "InsecureHttpWarning",
    "InvalidResponseError",
    "Limits",
    "MalformedResponseError",
    "ModelNotFoundError",
    "ModerationError",
    "PartialFailureError",
    "PermissionDeniedError",
    "Price",
    "QueryRoleWarning",
    "QwenEmbedError",
    "QwenEmbedder",
    "RateLimitError",
    "RequestError",
    "RequestTimeoutError",
    "ServerError",
    "ServiceError",
    "SharedToken",
    "SparseRow",
    "SparseVectors",
    "TextFailure",
    "TextRejectedError",
    "UnsupportedDimensionError",
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
