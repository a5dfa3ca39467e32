"""Rate limits for requests and tokens: token buckets with an injected clock."""

from __future__ import annotations

from collections.abc import Callable

from qwen_embed.emulator.dialects.request import ApiError


class TokenBucket:
    """A bucket that refills at a steady rate and holds one second of it, but at least 1.

    It starts full. An amount above its capacity is allowed when the bucket is full and leaves a
    deficit to refill first; otherwise a long request could never pass a small quota.

    Args:
        per_minute: The refill rate.
        clock: A monotonic clock, in seconds.
    """

    def __init__(self, per_minute: float, clock: Callable[[], float]) -> None:
        self._per_second = per_minute / 60
        self._capacity = max(1.0, self._per_second)
        self._level = self._capacity
        self._clock = clock
        self._refilled_at = clock()

    def has(self, amount: float) -> bool:
        """Return whether the amount is available now."""
        now = self._clock()
        self._level = min(
            self._capacity, self._level + (now - self._refilled_at) * self._per_second
        )
        self._refilled_at = now
        # Sums of floats are inexact: a difference of 1e-9 must not throttle a request.
        return self._level >= min(amount, self._capacity) - 1e-9

    def take(self, amount: float) -> None:
        """Take an amount, even if the level becomes negative."""
        self._level -= amount


class Quota:
    """The quota of an account, enforced per second as the service does. Not thread-safe.

    Args:
        requests_per_minute: The most requests; `None` for no limit.
        tokens_per_minute: The most tokens; `None` for no limit.
        clock: A monotonic clock, in seconds.

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
        """Spend one request of `tokens` tokens; a throttled request spends nothing.

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
        raise ValueError(f"A quota must be above 0, or None for no limit, not {per_minute}.")
    return TokenBucket(per_minute, clock)
