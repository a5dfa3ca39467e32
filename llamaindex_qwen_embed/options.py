"""What LlamaIndex's dense and sparse base classes have as fields, joined to the options."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from llama_index.core.rate_limiter import BaseRateLimiter
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from llamaindex_qwen_embed.events import tell_usage
from qwen_embed.base import BaseEmbedder
from qwen_embed.results import CallResult

R = TypeVar("R")


class PerRequest(BaseRateLimiter):
    """A limiter that requests acquire, in place of LlamaIndex's calls.

    LlamaIndex acquires once per call, and names no tokens. So what it acquires here lets it pass,
    and every request, retries included, acquires from the limiter behind.

    Attributes:
        limiter: The limiter that was given.
    """

    def __init__(self, limiter: BaseRateLimiter) -> None:
        self.limiter = limiter

    def acquire(self, num_tokens: int = 0) -> None:
        """Let a call of LlamaIndex pass."""

    async def async_acquire(self, num_tokens: int = 0) -> None:
        """Let a call of LlamaIndex pass."""


class LlamaIndexFields(BaseEmbedder):
    """The fields that LlamaIndex reads, for both of its bases."""

    model_name: str = "unknown"
    """The option `model` under LlamaIndex's name."""

    embed_batch_size: int = Field(default=2048, gt=0, le=2048, exclude=True)
    """LlamaIndex's own option, without effect here: a list is embedded in one call, and
    `batch_size` is how many texts a request has."""

    num_workers: int | None = Field(default=None, exclude=True)
    """LlamaIndex's own option, without effect here: `max_concurrency` is how many requests are in
    flight."""

    rate_limiter: Any = Field(default=None, exclude=True)
    """A limiter of LlamaIndex's: acquired once for every request that leaves, repeats included,
    with an estimate of its tokens. The account's quotas are kept besides."""

    @field_validator("rate_limiter")
    @classmethod
    def _acquire_per_request(cls, limiter: object) -> PerRequest | None:
        if limiter is None or isinstance(limiter, PerRequest):
            return limiter
        if not isinstance(limiter, BaseRateLimiter):
            # No TypeError, which pydantic would let through as it is.
            raise ValueError("rate_limiter must be a BaseRateLimiter of llama_index.core.")  # noqa: TRY004
        return PerRequest(limiter)

    def _whole(self, embedded: CallResult[R]) -> R:
        tell_usage(self.model, self._priced(embedded.usage))
        return super()._whole(embedded)

    def _admission(self) -> Callable[[int], Awaitable[object]] | None:
        per_request: PerRequest | None = self.rate_limiter
        if per_request is None:
            return None
        limiter = per_request.limiter
        return lambda tokens: limiter.async_acquire(num_tokens=tokens)

    @model_validator(mode="after")
    def _name_model_once(self) -> Self:
        if "model" in self.model_fields_set and self.model_name not in ("unknown", self.model):
            raise ValueError(f"model={self.model!r} and model_name={self.model_name!r} differ.")
        self.__dict__["model_name"] = self.model
        return self
