"""What calls use: texts, requests, retries, tokens, and an estimate of the cost."""

from __future__ import annotations

from dataclasses import dataclass

from qwen_embed.models import Model


@dataclass(frozen=True)
class Price:
    """A list price: `amount` of `currency` per million tokens.

    Attributes:
        amount: The price per million tokens.
        currency: `"CNY"` or `"USD"`.
        as_of: The year and month in which the price was looked up, such as `"2026-11"`.

    Example:
        >>> print(Price(0.07, "USD", as_of="2026-11"))
        0.07 USD per million tokens, as of 2026-11
    """

    amount: float
    currency: str
    as_of: str

    def __str__(self) -> str:
        return f"{self.amount:g} {self.currency} per million tokens, as of {self.as_of}"


def list_price(model: Model, region: str | None) -> Price | None:
    """Return the model's list price in a region, or `None` if it is not known.

    Prices are known for Beijing (CNY) and Singapore (USD).
    """
    if region == "cn-beijing" and model.cny_per_million_tokens is not None:
        return Price(model.cny_per_million_tokens, "CNY", model.prices_as_of)
    if region == "ap-southeast-1" and model.usd_per_million_tokens is not None:
        return Price(model.usd_per_million_tokens, "USD", model.prices_as_of)
    return None


@dataclass
class Usage:
    """What one call or all calls of an object used; `str()` returns one line for a log.

    Attributes:
        texts: Texts that the service embedded, duplicates included. In a pair, a text whose vector
            the other object's request had already returned is not counted again.
        requests: HTTP requests sent, including retried and rejected ones.
        retries: The number of them that were retries.
        tokens: Tokens billed, as the service reports them.
        cached: Texts found in the cache, duplicates included. They are not part of any other count.
        price: The list price that `cost` is based on, or `None` if it is not known.

    Example:
        >>> usage = Usage(texts=20, requests=2, tokens=70, price=Price(0.5, "CNY", "2026-11"))
        >>> print(usage)
        20 texts in 2 requests (0 retries), 70 tokens, about 0.000035 CNY (as of 2026-11)
    """

    texts: int = 0
    requests: int = 0
    retries: int = 0
    tokens: int = 0
    cached: int = 0
    price: Price | None = None

    @property
    def cost(self) -> float | None:
        """The estimated cost of `tokens`, in `price.currency`; `None` if it is not known."""
        return None if self.price is None else self.tokens * self.price.amount / 1_000_000

    def add(self, other: Usage) -> None:
        """Add the counts of another object to this one; the price stays."""
        self.texts += other.texts
        self.requests += other.requests
        self.retries += other.retries
        self.tokens += other.tokens
        self.cached += other.cached

    def __str__(self) -> str:
        cost = "price unknown"
        if self.price is not None:
            cost = f"about {self.cost:.6f} {self.price.currency} (as of {self.price.as_of})"
        cached = f"; {self.cached:,} texts from the cache" if self.cached else ""
        return (
            f"{self.texts:,} texts in {self.requests:,} requests ({self.retries:,} retries), "
            f"{self.tokens:,} tokens, {cost}{cached}"
        )
