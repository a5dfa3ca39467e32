"""The limit on billed tokens of a run, and the tokens billed so far."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.calls import Request, Response
from qwen_embed.models import MODELS
from qwen_embed.usage import Price, list_price

MAX_TOKENS = 20_000


@dataclass
class Budget:
    """Counts billed tokens and disallows requests that might reach the limit.

    Attributes:
        limit: The number of tokens that is never reached.
        spent: Tokens billed so far.
        requests: Requests sent so far.
    """

    limit: int = MAX_TOKENS
    spent: int = 0
    requests: int = 0

    def allows(self, tokens: int) -> bool:
        """Return whether this many additional tokens may be billed."""
        return self.spent + tokens < self.limit

    def count(self, request: Request, response: Response) -> None:
        """Count a request and the tokens that its response reports."""
        self.requests += 1
        # A request without a response may have been billed.
        self.spent += request.token_bound if response.error else response.tokens


def highest_price(region: str | None) -> Price | None:
    """Return the highest list price of any model in a region; `None` if none is known."""
    prices = [price for model in MODELS.values() if (price := list_price(model, region))]
    return max(prices, key=lambda price: price.amount, default=None)


def cost(tokens: int, region: str | None) -> str:
    """Return the maximum cost of this many tokens, as text."""
    price = highest_price(region)
    if price is None:
        return "the list price of this region is unknown"
    return f"at most {tokens * price.amount / 1_000_000:.4f} {price.currency} at list price"
