"""Where requests wait until the account's quotas and the embedder's options admit them.

All embedders of an account and model share one `SharedLimiter`, and each embedder has one
`Limiter`. What the account allows is decided by `qwen_embed.rate_limit.account`. Everything runs
on one event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

from qwen_embed.rate_limit.account import Account, Outcome, Permit, Quota
from qwen_embed.rate_limit.pacer import Pacer
from qwen_embed.rate_limit.tuning import TUNING

Admit = Callable[[int], Awaitable[object]]

_TIMER_RESOLUTION = 0.001
"""Seconds. A request that is due this soon is sent at once."""


@dataclass(frozen=True)
class Limits:
    """The current estimate of what an account allows, as `embedder.limits` returns it.

    Attributes:
        requests_per_minute: The pace of requests, or `None` if their quota is not known.
        tokens_per_minute: The pace of tokens, or `None` if their quota is not known.
        concurrency: The most requests in flight.

    Example:
        >>> from qwen_embed import QwenEmbedder
        >>> with QwenEmbedder(api_key="sk-...", requests_per_minute=1000) as embedder:
        ...     limits = embedder.limits
        >>> round(limits.requests_per_minute), limits.tokens_per_minute
        (995, None)
    """

    requests_per_minute: float | None
    tokens_per_minute: float | None
    concurrency: int


class SharedLimiter:
    """Admits the requests of all embedders of an account and model, which take turns.

    Args:
        account: What is known of the account.
        clock: Returns seconds that never go back.
        call_later: Calls a function after some seconds; the result has a `cancel` method.
    """

    def __init__(
        self,
        account: Account,
        *,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], Any],
    ) -> None:
        self.account = account
        self.clock = clock
        self._call_later = call_later
        self._timer: Any = None
        self._waiting: dict[Limiter, None] = {}  # in the order of their turns
        self._limiters: WeakSet[Limiter] = WeakSet()

    def register(self, limiter: Limiter) -> None:
        """Add an embedder's limiter."""
        self._limiters.add(limiter)
        self._configure_account()

    def unregister(self, limiter: Limiter) -> None:
        """Remove an embedder's limiter."""
        self._limiters.discard(limiter)
        self._configure_account()

    def _configure_account(self) -> None:
        """Configure the account's quotas: the largest, if every embedder has one configured.

        Each embedder also keeps to its own.
        """
        for quota in ("requests", "tokens"):
            quotas = [limiter.configured.get(quota) for limiter in self._limiters]
            known = [each for each in quotas if each is not None]
            largest = max(known) if known and len(known) == len(quotas) else None
            self.account.configure(quota, largest, self.clock())

    def try_admit(self, limiter: Limiter, tokens: float) -> Permit | None:
        """Return a permit if the embedder's next request may be sent at once."""
        now = self.clock()
        if self._due(limiter, now) > now + _TIMER_RESOLUTION:
            return None
        return self.admit(limiter, tokens, now)

    def _due(self, limiter: Limiter, now: float) -> float:
        """Return when the embedder's next request may be sent."""
        due = limiter.next_at(now)
        if due <= now + _TIMER_RESOLUTION:
            self.account.record_waiting(now)
            due = self.account.next_at(now)
        return due

    def admit(self, limiter: Limiter, tokens: float, now: float) -> Permit:
        """Return the permit of an embedder's request that is sent now."""
        permit = self.account.grant(now, tokens)
        limiter.record_sent(now, tokens)
        return permit

    def add_waiting(self, limiter: Limiter) -> None:
        """Record that an embedder has requests waiting."""
        self._waiting.setdefault(limiter)

    @property
    def has_waiting(self) -> bool:
        """Whether requests are waiting."""
        return bool(self._waiting)

    def admit_waiting(self) -> None:
        """Admit every request that may be sent now, and set a timer for the next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            now = self.clock()
            limiter = min(self._waiting, key=lambda each: max(now, each.next_at(now)))
            due = self._due(limiter, now)
            if due > now + _TIMER_RESOLUTION:
                if due < math.inf:
                    self._timer = self._call_later(due - now, self.admit_waiting)
                return
            del self._waiting[limiter]
            limiter.admit_next(now)
            if limiter.has_waiting:
                self._waiting[limiter] = None  # behind the others


class Limiter:
    """Admits the requests of one embedder.

    Args:
        shared: The limiter of the account.
        max_concurrency: The most requests of the embedder in flight.
        configured: The quotas in the embedder's options, per second.
        admit: The user's own rate limiter: waits until a request of so many tokens may be sent.
    """

    def __init__(
        self,
        shared: SharedLimiter,
        *,
        max_concurrency: int,
        configured: dict[Quota, float] | None = None,
        admit: Admit | None = None,
    ) -> None:
        self.configured = configured or {}
        self._admit = admit
        self._shared = shared
        self._max_concurrency = max_concurrency
        self._in_flight = 0
        self._pacers = {quota: Pacer() for quota in self.configured}
        self._queue: deque[tuple[asyncio.Future[Permit], float]] = deque()
        shared.register(self)

    @property
    def served(self) -> int:
        """How many requests the account has served, including those of other embedders."""
        return self._shared.account.served

    @property
    def limits(self) -> Limits:
        """The current estimate of what the account allows this embedder."""
        return limits_of(self._shared.account, self._max_concurrency, self.configured)

    @property
    def has_waiting(self) -> bool:
        """Whether requests are waiting."""
        return bool(self._queue)

    def throttled_for(self) -> float:
        """Return for how many seconds every request of the account has been throttled."""
        return self._shared.account.throttled_for(self._shared.clock())

    def next_at(self, now: float) -> float:
        """Return when the embedder's own options admit its next request."""
        if self._in_flight >= self._max_concurrency:
            return math.inf
        return max((pacer.next_at for pacer in self._pacers.values()), default=now)

    async def acquire(self, tokens: float, *, retry: bool = False) -> Permit:
        """Wait until a request may be sent. Release or cancel every permit.

        Args:
            tokens: An estimate of the request's tokens.
            retry: Whether the request was sent before: it goes ahead of the embedder's others.
        """
        if self._admit is not None:
            await self._admit(round(tokens))
        tokens = self._shared.account.expected_tokens(tokens)
        if not self._shared.has_waiting:
            permit = self._shared.try_admit(self, tokens)
            if permit is not None:
                return permit
        waiter: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        entry = (waiter, tokens)
        if retry:
            self._queue.appendleft(entry)
        else:
            self._queue.append(entry)
        self._shared.add_waiting(self)
        self._shared.admit_waiting()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.cancel(waiter.result())
            elif entry in self._queue:
                self._queue.remove(entry)
            self._shared.admit_waiting()
            raise

    def admit_next(self, now: float) -> None:
        """Give the first waiting request its permit."""
        while self._queue:
            waiter, tokens = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(self._shared.admit(self, tokens, now))
                return

    def record_sent(self, now: float, tokens: float) -> None:
        """Record that a request of the embedder is sent."""
        self._in_flight += 1
        for quota, pacer in self._pacers.items():
            amount = 1.0 if quota == "requests" else tokens
            pacer.spend(now, amount / self._pace(quota))

    def update_estimate(self, permit: Permit, tokens: float) -> None:
        """Set the request's estimated tokens, once its texts are known."""
        tokens = self._shared.account.expected_tokens(tokens)
        if "tokens" in self._pacers:
            self._pacers["tokens"].extend((tokens - permit.tokens) / self._pace("tokens"))
        self._shared.account.update_estimate(permit, tokens)

    def _pace(self, quota: Quota) -> float:
        return TUNING.safety_margin * self.configured[quota]

    def release(self, permit: Permit, outcome: Outcome) -> None:
        """Return the permit of a request that has ended."""
        self._in_flight -= 1
        self._shared.account.record_outcome(permit, outcome, self._shared.clock())
        self._shared.admit_waiting()

    def cancel(self, permit: Permit) -> None:
        """Return a permit without having sent a request."""
        self.release(permit, Outcome("other"))

    def close(self) -> None:
        """Unregister from the account's limiter."""
        self._shared.unregister(self)


def limits_of(
    account: Account | None, max_concurrency: int, configured: dict[Quota, float] | None
) -> Limits:
    """Return the current estimate of what an account allows an embedder.

    Args:
        account: What is known of the account, or `None` before the first request.
        max_concurrency: The most requests of the embedder in flight.
        configured: The quotas in the embedder's options, per second.
    """
    paces: dict[Quota, float | None] = {}
    for quota in ("requests", "tokens"):
        pace = account.known_pace(quota) if account else None
        own = (configured or {}).get(quota)
        own_pace = TUNING.safety_margin * own if own else None
        known = [each for each in (pace, own_pace) if each is not None]
        paces[quota] = 60 * min(known) if known else None
    concurrency = account.concurrency if account else TUNING.initial_concurrency
    return Limits(paces["requests"], paces["tokens"], min(max_concurrency, concurrency))
