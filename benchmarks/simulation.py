"""Accounts and simulated services in simulated time: what a limiter makes of quotas it must find.

A service keeps its quota as a bucket or by periods, and answers after a latency. Simulated clients
send as their `Account` lets them, and send again what was throttled. Nothing waits for real.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from qwen_embed.rate_limit.account import Account, Outcome, Permit, Quota


class Service(Protocol):
    """Keeps one quota of an account."""

    def take(self, now: float, amount: float) -> bool:
        """Return whether a request of an amount is let through."""


class Bucket:
    """A bucket that fills at a steady rate.

    Args:
        per_second: The rate.
        depth: The most that it holds; it starts full.
        throttling_costs: Whether a throttled request takes what is there.
    """

    def __init__(self, per_second: float, depth: float, *, throttling_costs: bool = False) -> None:
        self.per_second = per_second
        self._depth = depth
        self._level = depth
        self._throttling_costs = throttling_costs
        self._filled_at = 0.0

    def take(self, now: float, amount: float) -> bool:
        """Return whether a request of an amount is let through."""
        gained = (now - self._filled_at) * self.per_second
        self._level = min(self._depth, self._level + gained)
        self._filled_at = now
        if self._level >= min(amount, self._depth) - 1e-9:
            self._level -= amount
            return True
        if self._throttling_costs:
            self._level = max(0.0, self._level - amount)
        return False


class Window:
    """A quota that is given anew at the beginning of each period.

    Args:
        per_second: The rate, on average.
        period: Seconds.
        phase: Which part of the first period is over at the start, from 0 to 1.
    """

    def __init__(self, per_second: float, period: float, phase: float = 0.0) -> None:
        self.per_second = per_second
        self._period = period
        self._phase = phase
        self._number = -1
        self._used = 0.0

    def take(self, now: float, amount: float) -> bool:
        """Return whether a request of an amount is let through."""
        number = math.floor(now / self._period + self._phase)
        if number != self._number:
            self._number, self._used = number, 0.0
        if self._used + amount > self.per_second * self._period + 1e-9:
            return False
        self._used += amount
        return True


@dataclass
class Client:
    """One process on the account.

    Attributes:
        account: What it knows.
        max_concurrency: The most requests it has in flight.
    """

    account: Account = field(default_factory=Account)
    max_concurrency: int = 32

    def next_at(self, now: float) -> float:
        """Return when the next request may leave."""
        if self.account.in_flight >= self.max_concurrency:
            return math.inf
        self.account.record_waiting(now)
        return self.account.next_at(now)


@dataclass
class Run:
    """Clients that send as much as they may, for some seconds.

    Attributes:
        quotas: What the service keeps for the account.
        clients: Those that send.
        seconds: How long.
        latency: Seconds until an answer, to which up to a fifth is added.
        tokens: Draws the tokens of a request.
        retry_after: What 429s say, in seconds, or `None`.
        changes: What happens at some times.
        seed: Of all that is random.
        served_at: When each served request was answered.
        throttled_at: When each throttled request was answered.
        served_tokens: Tokens of all served requests.
    """

    quotas: dict[Quota, Service]
    clients: Sequence[Client]
    seconds: float
    latency: float = 0.1
    tokens: Callable[[random.Random], float] = lambda _: 600
    retry_after: float | None = None
    changes: Sequence[tuple[float, Callable[[], None]]] = ()
    seed: int = 0
    served_at: list[float] = field(default_factory=list)
    throttled_at: list[float] = field(default_factory=list)
    served_tokens: float = 0.0

    def __post_init__(self) -> None:
        """Run."""
        self._random = random.Random(self.seed)  # noqa: S311 -- no secret
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._due: dict[int, float] = {}
        self._now = 0.0
        for at, change in self.changes:
            self._at(at, change)
        for index in range(len(self.clients)):
            self._at(0.0, lambda index=index: self._send(index))
        while self._events:
            self._now, _, event = heapq.heappop(self._events)
            if self._now > self.seconds:
                break
            event()

    def used(self, since: float = 0.0, quota: float | None = None) -> float:
        """Return what was served since a time, by what the quota of requests gave."""
        rate = quota if quota is not None else self.quotas["requests"].per_second
        return sum(at > since for at in self.served_at) / (rate * (self.seconds - since))

    def throttled(self, since: float = 0.0) -> float:
        """Return the part of all requests since a time that were throttled."""
        throttled = sum(at > since for at in self.throttled_at)
        served = sum(at > since for at in self.served_at)
        return throttled / max(1, throttled + served)

    def _at(self, at: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (at, next(self._number), event))

    def _send(self, index: int) -> None:
        client = self.clients[index]
        while (due := client.next_at(self._now)) <= self._now:
            tokens = self.tokens(self._random)
            expected = client.account.expected_tokens(tokens * 1.4)
            permit = client.account.grant(self._now, expected)
            latency = self.latency * (1 + 0.2 * self._random.random())
            arrival = self._now + 0.05 * self.latency + 0.001 * self._random.random()
            answer = self._now + latency
            self._at(
                arrival,
                lambda permit=permit, tokens=tokens, answer=answer: self._arrive(
                    index, permit, tokens, answer
                ),
            )
        if due < math.inf and due < self._due.get(index, math.inf):
            self._due[index] = due
            # As coarse as a real timer.
            self._at(due + 0.001 * self._random.random(), lambda: self._wake(index))

    def _wake(self, index: int) -> None:
        self._due.pop(index, None)
        self._send(index)

    def _arrive(self, index: int, permit: Permit, tokens: float, answer: float) -> None:
        kind: Quota | None = None
        for quota, service in self.quotas.items():
            if not service.take(self._now, 1.0 if quota == "requests" else tokens):
                kind = quota
                break
        self._at(answer, lambda: self._answer(index, permit, tokens, kind))

    def _answer(self, index: int, permit: Permit, tokens: float, throttled: Quota | None) -> None:
        if throttled is None:
            outcome = Outcome("served", tokens=round(tokens))
            self.served_at.append(self._now)
            self.served_tokens += tokens
        else:
            outcome = Outcome(throttled, retry_after=self.retry_after)
            self.throttled_at.append(self._now)
        self.clients[index].account.record_outcome(permit, outcome, self._now)
        self._send(index)
