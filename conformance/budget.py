"""How many tokens a run may be billed, and how many it has been."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.calls import Call, Reply
from qwen_embed.models import MODELS
from qwen_embed.usage import Price, list_price

MOST_TOKENS = 20_000


@dataclass
class Budget:
    """Counts what is billed and refuses what might lead to the limit.

    Attributes:
        limit: Tokens that are never reached.
        spent: Tokens billed so far.
        requests: Requests sent so far.
    """

    limit: int = MOST_TOKENS
    spent: int = 0
    requests: int = 0

    def allows(self, tokens: int) -> bool:
        """Return whether so many tokens may be billed on top."""
        return self.spent + tokens < self.limit

    def count(self, call: Call, reply: Reply) -> None:
        """Count a call and what its answer says it cost."""
        self.requests += 1
        # What was not answered may have been billed all the same.
        self.spent += call.token_bound if reply.fault else reply.tokens


def highest_price(region: str | None) -> Price | None:
    """Return the highest list price of any model in a region; `None` where none is known."""
    prices = [price for model in MODELS.values() if (price := list_price(model, region))]
    return max(prices, key=lambda price: price.amount, default=None)


def cost(tokens: int, region: str | None) -> str:
    """Return what so many tokens cost at most, in words."""
    price = highest_price(region)
    if price is None:
        return "no list price is known here for this region"
    return f"at most {tokens * price.amount / 1_000_000:.4f} {price.currency} at list price"
