"""How many requests may be in flight and when the next may leave.

`Limiter` is the interface that the pipeline knows; it knows nothing of texts or HTTP.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, Protocol


@dataclass(frozen=True)
class Permit:
    """Leave to send one request.

    Attributes:
        given_at: When it was given, in seconds of the limiter's clock.
    """

    given_at: float


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
        kind: Served; throttled by the account's quota; or ended in any other way, which says
            nothing about the quota.
        tokens: The tokens that were billed.
        retry_after: Seconds after which the service wants to be asked again, or `None`.
    """

    kind: Literal["served", "throttled", "other"]
    tokens: int = 0
    retry_after: float | None = None


class Limiter(Protocol):
    """Decides when requests leave. Used on one event loop only."""

    @property
    def served(self) -> int:
        """How many requests were served so far."""

    async def acquire(self) -> Permit:
        """Wait until a request may leave. Release every permit."""

    def release(self, permit: Permit, outcome: Outcome) -> None:
        """Say what became of the request."""


class ConcurrencyLimiter(Limiter):
    """Bounds the requests in flight, and gives way to throttling.

    Until the first request is served only `cold_start` may be in flight, so that a setting which
    the service refuses costs a handful of refusals. A throttled request lowers the bound by a
    quarter, at most once for the requests that left before it was last lowered; each served one
    raises it again, by one for a whole round of them.

    Args:
        max_concurrency: The ceiling.
        clock: Returns seconds that never go back.
        sleep: Waits for seconds.
        cold_start: The bound until the first request is served.
    """

    def __init__(
        self,
        max_concurrency: int,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        cold_start: int = 4,
    ) -> None:
        self._ceiling = max_concurrency
        self._bound = float(max_concurrency)
        self._cold_start = cold_start
        self._clock = clock
        self._sleep = sleep
        self._in_flight = 0
        self._served = 0
        self._lowered_at = float("-inf")
        self._paused_until = float("-inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def served(self) -> int:
        """How many requests were served so far."""
        return self._served

    @property
    def bound(self) -> int:
        """How many requests may be in flight now."""
        bound = max(1, int(self._bound))
        return bound if self._served else min(bound, self._cold_start)

    async def acquire(self) -> Permit:
        """Wait for a free place, and for the end of a pause that the service asked for."""
        while True:
            pause = self._paused_until - self._clock()
            if pause > 0:
                await self._sleep(pause)
            elif self._in_flight < self.bound:
                self._in_flight += 1
                return Permit(self._clock())
            else:
                await self._wait_for_place()

    async def _wait_for_place(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            self._wake()
            raise

    def release(self, permit: Permit, outcome: Outcome) -> None:
        """Free the place, and learn from the outcome."""
        self._in_flight -= 1
        if outcome.kind == "served":
            self._served += 1
            self._bound = min(self._ceiling, self._bound + 1 / self._bound)
        elif outcome.kind == "throttled":
            now = self._clock()
            if outcome.retry_after is not None:
                self._paused_until = max(self._paused_until, now + outcome.retry_after)
            if permit.given_at > self._lowered_at:
                self._lowered_at = now
                self._bound = max(1.0, min(self._bound, self._in_flight + 1) * 0.75)
        self._wake()

    def _wake(self) -> None:
        free = self.bound - self._in_flight
        while free > 0 and self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1
