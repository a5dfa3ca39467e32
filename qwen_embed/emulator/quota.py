"""How many requests and tokens are let through, by token buckets over a clock that is passed in."""

from __future__ import annotations

from collections.abc import Callable

from qwen_embed.emulator.dialects.request import ApiError


class TokenBucket:
    """Fills at a steady rate and holds at most one second's worth, at least 1.

    It starts full. An amount above what it can hold is let through when it is full, and paid off
    before anything else is: otherwise a long request could never pass a small quota.

    Args:
        per_minute: The rate.
        clock: Seconds, never going back.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._per_second = per_minute / 60
        self._capacity = max(1.0, self._per_second)
        self._level = self._capacity
        self._clock = clock
        self._filled_at = clock()

    def has(self, amount: float) -> bool:
        """Return whether the amount may be taken now."""
        now = self._clock()
        self._level = min(self._capacity, self._level + (now - self._filled_at) * self._per_second)
        self._filled_at = now
        # A clock's sums are inexact: the last 1e-9 is not worth a refusal.
        return self._level >= min(amount, self._capacity) - 1e-9

    def take(self, amount: float) -> None:
        """Take an amount, whether or not it is there."""
        self._level -= amount


class Quota:
    """What an account may send, enforced by the second as the service does.

    Not for several threads at once.

    Args:
        requests_per_minute: The most requests; `None` for any number.
        tokens_per_minute: The most tokens; `None` for any number.
        clock: Seconds, never going back.

    Raises:
        ValueError: When a number is not above 0.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        clock: Callable[[], float],
    ) -> None:
        self._requests = _bucket(requests_per_minute, clock)
        self._tokens = _bucket(tokens_per_minute, clock)

    def spend(self, tokens: int) -> None:
        """Spend one request of so many tokens; a refused request spends nothing.

        Raises:
            ApiError: 429, `Throttling.RateQuota` for requests and
                `Throttling.AllocationQuota` for tokens.
        """
        if self._requests and not self._requests.has(1):
            raise ApiError(
                429,
                "Throttling.RateQuota",
                "Requests rate limit exceeded, please try again later.",
            )
        if self._tokens and not self._tokens.has(tokens):
            raise ApiError(
                429,
                "Throttling.AllocationQuota",
                "Allocated quota exceeded, please increase your quota limit.",
            )
        if self._requests:
            self._requests.take(1)
        if self._tokens:
            self._tokens.take(tokens)


def _bucket(per_minute: float | None, clock: Callable[[], float]) -> TokenBucket | None:
    if per_minute is None:
        return None
    if per_minute <= 0:
        raise ValueError(f"A quota must be above 0, or None for none, not {per_minute}.")
    return TokenBucket(per_minute, clock)
