"""What LangChain's conventions add to the options, for dense and sparse objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from langchain_core.rate_limiters import BaseRateLimiter
from pydantic import ConfigDict, Field

from qwen_embed.base import BaseEmbedder


class LangChainFields(BaseEmbedder):
    """The fields that are LangChain's own."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    rate_limiter: BaseRateLimiter | None = Field(default=None, exclude=True)
    """A limiter of LangChain's, such as one that a chat model shares: acquired once for every
    request that leaves, repeats included. The account's quotas are kept besides."""

    def _admission(self) -> Callable[[int], Awaitable[object]] | None:
        limiter = self.rate_limiter
        if limiter is None:
            return None
        return lambda _: limiter.aacquire(blocking=True)
