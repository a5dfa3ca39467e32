"""Lets requests leave one by one, as an account's quotas and a user's options allow.

`Limiter` is the interface that the pipeline knows. What the account allows is the matter of
`qwen_embed.rate_limit.account`; here requests wait for it. Everything runs on one event loop.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

from qwen_embed.rate_limit.account import COLD_START, Account, Outcome, Permit, Quota
from qwen_embed.rate_limit.estimator import CAUTION, Spacing

Admit = Callable[[int], Awaitable[object]]

_TICK = 0.001
"""Timers are no finer: what is due within it leaves at once."""


@dataclass(frozen=True)
class Limits:
    """What an account is taken to allow at the moment, as `embedder.limits` returns it.

    Attributes:
        requests_per_minute: The pace of requests; `None` while no quota of them is known.
        tokens_per_minute: The pace of tokens, likewise.
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


class Limiter(Protocol):
    """Decides when requests leave. Used on one event loop only."""

    @property
    def served(self) -> int:
        """How many requests the account has served so far."""

    async def acquire(self, tokens: float, *, again: bool = False) -> Permit:
        """Wait until a request may leave. Release every permit, or give it back.

        Args:
            tokens: An estimate of the request's tokens.
            again: Whether the request was refused before, and goes before others of the object.
        """

    def expect(self, permit: Permit, tokens: float) -> None:
        """Say what the request is about to cost, now that it is cut."""

    def release(self, permit: Permit, outcome: Outcome) -> None:
        """Say what became of the request."""

    def give_back(self, permit: Permit) -> None:
        """Take back a permit with which nothing was sent."""

    def starved_for(self) -> float:
        """Return for how many seconds the account has refused requests and served none."""


class Gate:
    """Where all requests of an account for one model leave, those of each object in turn.

    Args:
        account: What is known of the account.
        clock: Returns seconds that never go back.
        call_later: Calls a function after some seconds, unless cancelled before.
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
        self._waiting: dict[AccountLimiter, None] = {}  # in the order of their turns
        self._members: WeakSet[AccountLimiter] = WeakSet()

    def join(self, limiter: AccountLimiter) -> None:
        """Let an object's requests leave here."""
        self._members.add(limiter)
        self._tell()

    def part(self, limiter: AccountLimiter) -> None:
        """Forget an object."""
        self._members.discard(limiter)
        self._tell()

    def _tell(self) -> None:
        """A quota is told where every object tells one; each keeps to its own besides."""
        for quota in ("requests", "tokens"):
            told = [member.told.get(quota) for member in self._members]
            known = [each for each in told if each is not None]
            largest = max(known) if known and len(known) == len(told) else None
            self.account.tell(quota, largest, self.clock())

    def try_leave(self, limiter: AccountLimiter, tokens: float) -> Permit | None:
        """Return a permit where the object's next request may leave at once."""
        now = self.clock()
        if limiter.next_at(now) > now + _TICK or self.account.next_at(now) > now + _TICK:
            return None
        return self.leave(limiter, tokens, now)

    def leave(self, limiter: AccountLimiter, tokens: float, now: float) -> Permit:
        """Return the permit of an object's request that leaves now."""
        permit = self.account.leave(now, tokens)
        limiter.left(now, tokens)
        return permit

    def wait(self, limiter: AccountLimiter) -> None:
        """Note that an object has requests waiting."""
        self._waiting.setdefault(limiter)

    @property
    def crowded(self) -> bool:
        """Whether requests are waiting."""
        return bool(self._waiting)

    def pump(self) -> None:
        """Let all leave that may, and come back when the next may."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            now = self.clock()
            limiter = min(self._waiting, key=lambda each: max(now, each.next_at(now)))
            due = limiter.next_at(now)
            if due <= now + _TICK:
                due = self.account.next_at(now)
            if due > now + _TICK:
                if due < math.inf:
                    self._timer = self._call_later(due - now, self.pump)
                return
            del self._waiting[limiter]
            limiter.let_next_leave(now)
            if limiter.waits:
                self._waiting[limiter] = None  # behind the others


class AccountLimiter(Limiter):
    """One object's place at a gate.

    Args:
        gate: The gate of the account.
        max_concurrency: The most requests of the object in flight.
        told: The quotas that the object's options tell, in amounts a second.
        admit: Waits until a limiter of the user's own lets a request of so many tokens leave.
    """

    def __init__(
        self,
        gate: Gate,
        *,
        max_concurrency: int,
        told: dict[Quota, float] | None = None,
        admit: Admit | None = None,
    ) -> None:
        self.told = told or {}
        self._admit = admit
        self._gate = gate
        self._max_concurrency = max_concurrency
        self._in_flight = 0
        self._spacings = {quota: Spacing() for quota in self.told}
        self._queue: deque[tuple[asyncio.Future[Permit], float]] = deque()
        gate.join(self)

    @property
    def served(self) -> int:
        """How many requests the account has served so far, those of other objects included."""
        return self._gate.account.served

    @property
    def limits(self) -> Limits:
        """What the account is taken to allow this object."""
        return limits_of(self._gate.account, self._max_concurrency, self.told)

    @property
    def waits(self) -> bool:
        """Whether requests are waiting."""
        return bool(self._queue)

    def starved_for(self) -> float:
        """Return for how many seconds the account has refused requests and served none."""
        return self._gate.account.starved_for(self._gate.clock())

    def next_at(self, now: float) -> float:
        """Return when the object's own options let its next request leave."""
        if self._in_flight >= self._max_concurrency:
            return math.inf
        return max((spacing.next_at for spacing in self._spacings.values()), default=now)

    async def acquire(self, tokens: float, *, again: bool = False) -> Permit:
        """Wait until a request may leave, behind the object's others unless sent again."""
        if self._admit is not None:
            await self._admit(round(tokens))
        tokens = self._gate.account.expected_tokens(tokens)
        if not self._gate.crowded:
            permit = self._gate.try_leave(self, tokens)
            if permit is not None:
                return permit
        waiter: asyncio.Future[Permit] = asyncio.get_running_loop().create_future()
        entry = (waiter, tokens)
        if again:
            self._queue.appendleft(entry)
        else:
            self._queue.append(entry)
        self._gate.wait(self)
        self._gate.pump()
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                self.give_back(waiter.result())
            elif entry in self._queue:
                self._queue.remove(entry)
            self._gate.pump()
            raise

    def let_next_leave(self, now: float) -> None:
        """Give the first of the waiting requests its permit."""
        while self._queue:
            waiter, tokens = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(self._gate.leave(self, tokens, now))
                return

    def left(self, now: float, tokens: float) -> None:
        """Note that a request of the object leaves."""
        self._in_flight += 1
        for quota, spacing in self._spacings.items():
            amount = 1.0 if quota == "requests" else tokens
            spacing.spend(now, amount / (CAUTION * self.told[quota]))

    def expect(self, permit: Permit, tokens: float) -> None:
        """Say what the request is about to cost, now that it is cut."""
        tokens = self._gate.account.expected_tokens(tokens)
        if "tokens" in self._spacings:
            more = (tokens - permit.tokens) / (CAUTION * self.told["tokens"])
            self._spacings["tokens"].next_at += more
        self._gate.account.expect(permit, tokens)

    def release(self, permit: Permit, outcome: Outcome) -> None:
        """Say what became of the request."""
        self._in_flight -= 1
        self._gate.account.answer(permit, outcome, self._gate.clock())
        self._gate.pump()

    def give_back(self, permit: Permit) -> None:
        """Take back a permit with which nothing was sent."""
        self.release(permit, Outcome("other"))

    def close(self) -> None:
        """Leave the gate."""
        self._gate.part(self)


def limits_of(
    account: Account | None, max_concurrency: int, told: dict[Quota, float] | None
) -> Limits:
    """Return what an account is taken to allow an object.

    Args:
        account: What is known of it, or `None` before the first request.
        max_concurrency: The object's own ceiling.
        told: The quotas that the object's options tell, in amounts a second.
    """
    paces: dict[Quota, float | None] = {}
    for quota in ("requests", "tokens"):
        pace = account.known_pace(quota) if account else None
        own = (told or {}).get(quota)
        known = [each for each in (pace, CAUTION * own if own else None) if each is not None]
        paces[quota] = 60 * min(known) if known else None
    bound = account.bound if account else COLD_START
    return Limits(paces["requests"], paces["tokens"], min(max_concurrency, bound))
