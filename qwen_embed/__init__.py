"""Qwen text embeddings: right, fast, cheap and safe."""

from qwen_embed.client import QwenEmbedder
from qwen_embed.errors import (
    AccessError,
    AuthenticationError,
    BatchSizeError,
    ClosedError,
    ConnectionFailedError,
    InputError,
    InvalidResponseError,
    MalformedResponseError,
    ModelNotFoundError,
    ModerationError,
    PartialFailureError,
    QwenEmbedError,
    RateLimitError,
    RequestError,
    RequestTimeoutError,
    ServerError,
    ServiceError,
    TextFailure,
    TextRefusedError,
)
from qwen_embed.results import EmbeddingResult, SparseVectors
from qwen_embed.usage import Price, Usage
from qwen_embed.version import __version__

__all__ = [
    "AccessError",
    "AuthenticationError",
    "BatchSizeError",
    "ClosedError",
    "ConnectionFailedError",
    "EmbeddingResult",
    "InputError",
    "InvalidResponseError",
    "MalformedResponseError",
    "ModelNotFoundError",
    "ModerationError",
    "PartialFailureError",
    "Price",
    "QwenEmbedError",
    "QwenEmbedder",
    "RateLimitError",
    "RequestError",
    "RequestTimeoutError",
    "ServerError",
    "ServiceError",
    "SparseVectors",
    "TextFailure",
    "TextRefusedError",
    "Usage",
    "__version__",
]
