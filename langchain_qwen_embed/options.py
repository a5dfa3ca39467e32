"""The options that LangChain's dense and sparse objects add to those of the core."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import ConfigDict, Field

from qwen_embed.base import BaseEmbedder


class LangChainFields(BaseEmbedder):
    """The fields that only LangChain's objects have."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """A LangChain rate limiter, for example one shared with a chat model. It is acquired once per
    request, retries included. The account's quota is respected as well."""

    def _admission(self) -> Callable[[int], Awaitable[object]] | None:
        limiter = self.rate_limiter
        if limiter is None:
            return None
        return lambda _: limiter.aacquire(blocking=True)
