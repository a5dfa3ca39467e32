"""The options that LlamaIndex's dense and sparse base classes add to those of the core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from llama_index.core.rate_limiter import BaseRateLimiter
from pydantic import Field, field_validator, model_validator
from typing_extensions import Self

from llamaindex_qwen_embed.events import send_usage
from qwen_embed.base import BaseEmbedder
from qwen_embed.results import CallResult

R = TypeVar("R")


class PerRequest(BaseRateLimiter):
    """Moves a limiter from LlamaIndex's calls to requests.

    LlamaIndex acquires once per call and passes no tokens, so `acquire` does nothing here. Each
    request, retries included, acquires from the wrapped limiter instead.

    Attributes:
        limiter: The wrapped limiter.
    """

    def __init__(self, limiter: BaseRateLimiter) -> None:
        self.limiter = limiter

    def acquire(self, num_tokens: int = 0) -> None:
        """Do nothing: requests acquire instead."""

    async def async_acquire(self, num_tokens: int = 0) -> None:
        """Do nothing: requests acquire instead."""


class LlamaIndexFields(BaseEmbedder):
    """The fields that LlamaIndex reads, for its dense and its sparse base class."""

    model_name: str = "unknown"
    """LlamaIndex's name for the option `model`."""

    embed_batch_size: int = Field(default=2048, gt=0, le=2048, exclude=True)
    """LlamaIndex's own option; it has no effect. A list is embedded in one call, and `batch_size`
    is the number of texts per request."""

    num_workers: int | None = Field(default=None, exclude=True)
    """LlamaIndex's own option; it has no effect. `max_concurrency` is the maximum number of
    requests in flight."""

    rate_limiter: Any = Field(default=None, exclude=True)
    """A LlamaIndex rate limiter. It is acquired once per request, retries included, with an
    estimate of the request's tokens. The account's quota is respected as well."""

    @field_validator("rate_limiter")
    @classmethod
    def _acquire_per_request(cls, limiter: object) -> PerRequest | None:
        if limiter is None or isinstance(limiter, PerRequest):
            return limiter
        if not isinstance(limiter, BaseRateLimiter):
            # Not a TypeError: pydantic turns only ValueErrors into validation errors.
            raise ValueError("rate_limiter must be a BaseRateLimiter of llama_index.core.")  # noqa: TRY004
        return PerRequest(limiter)

    def _whole(self, embedded: CallResult[R]) -> R:
        send_usage(self.model, self._priced(embedded.usage))
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
