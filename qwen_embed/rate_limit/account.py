"""How many requests an account may have in flight for a model, and when the next may leave.

It starts with a few, lets more leave the more are served, and after the first refusal keeps to a
pace for each quota; see `qwen_embed.rate_limit.estimator` for how a pace is found. All is
arithmetic over times that are passed in; nothing here waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from qwen_embed.rate_limit.estimator import CAUTION, Cycle, Rate, Spacing

Quota = Literal["requests", "tokens"]

COLD_START = 4
"""Requests in flight until the first is served."""

# Found by the same search as the figures of `qwen_embed.rate_limit.estimator`.
_STARTING_PACE = 20.0
_RISE = 0.12  # more in flight for each request served
_RISE_BY_LATENCY = 0.3  # of a second
_PUBLISHED_SURENESS = 2
_TOLD_SURENESS = 12
_REFUSALS_THAT_CLOSE = 4
_WAIT_OF_ONE = 2.0
"""Seconds. A `Retry-After` up to it is a matter of the request alone, a longer one of all."""
_LONGEST_PAUSE = 90.0
_FIRST_PROBE = 0.15
_LONGEST_PROBE = 8.0
_LATENCY_GUESS = 0.5
_TOWARDS_RAMP = 0.5


@dataclass(eq=False)
class Permit:
    """Leave to send one request.

    Attributes:
        sent_at: When it was given, in seconds of the clock.
        tokens: The tokens it is expected to cost.
        probe: Whether it is to find out if the account serves anything again.
    """

    sent_at: float
    tokens: float
    probe: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
        kind: Served; refused by a quota; asked for a smoother rise; or ended in any other way,
            which says nothing about quotas.
        tokens: The tokens that were billed.
        retry_after: Seconds after which the service wants to be asked again, or `None`.
    """

    kind: Literal["served", "requests", "tokens", "burst", "other"]
    tokens: int = 0
    retry_after: float | None = None


@dataclass
class _Edge:
    """The requests in flight when the first refusal of a quota came: they show what it allows."""

    quota: Quota
    unit: float
    first: float
    last: float
    until: float
    waiting: set[Permit]
    requests: int = 0
    tokens: float = 0.0


@dataclass
class _Closure:
    """A time in which nothing is served: one request at a time asks whether that is over."""

    since: float
    probe_at: float
    refused_at: float
    probes: int = 0
    probing: bool = False


@dataclass
class _Open:
    """What was served since the account was last open after a closure."""

    since: float = 0.0
    requests: int = 0
    tokens: float = 0.0


class Account:
    """What is known of an account's quotas for one model.

    Args:
        published: What the service publishes for the model, in amounts a second, or `None`.

    Attributes:
        in_flight: How many requests are in flight.
        served: How many requests were served so far.
    """

    def __init__(self, published: Mapping[Quota, float] | None = None) -> None:
        self.in_flight = 0
        self.served = 0
        self._published = published
        self._ceilings: dict[Quota, float | None] = {"requests": None, "tokens": None}
        self._rates: dict[Quota, Rate] = {}
        self._ramp = Spacing()
        self._allowed = float(COLD_START)
        self._latency: float | None = None
        self._billed = 0.0
        self._estimated = 0.0
        self._flight: set[Permit] = set()
        self._edge: _Edge | None = None
        self._closure: _Closure | None = None
        self._refused_in_row = 0
        self._not_before = -math.inf
        self._limiting = False
        self._ramp_limits = False
        self._started_at: float | None = None
        self._left_at = -math.inf
        self._open = _Open()
        self._starved_since: float | None = None

    def tell(self, quota: Quota, per_second: float | None, now: float) -> None:
        """Set a quota that is known and that is never to be exceeded; `None` where none is."""
        if per_second == self._ceilings[quota]:
            return
        self._ceilings[quota] = per_second
        rate = self._rates.get(quota)
        if per_second is not None:
            ceiling = CAUTION * per_second
            unit = rate.unit if rate else 1.0
            self._rates[quota] = Rate(
                ceiling, now, sureness=_TOLD_SURENESS, unit=unit, ceiling=ceiling
            )
        elif rate is not None:
            rate.ceiling = None

    def known_pace(self, quota: Quota) -> float | None:
        """Return the pace for a quota, in amounts a second; `None` while no such quota is known."""
        return self._rates[quota].pace if quota in self._rates else None

    @property
    def ramping(self) -> bool:
        """Whether no quota of requests is known yet, neither from outside nor by a refusal."""
        return "requests" not in self._rates

    @property
    def bound(self) -> int:
        """How many requests may be in flight now: as many as pace and latency need."""
        latency = self._latency
        if latency is None:
            if self._ceilings["requests"] is None:
                return COLD_START
            latency = _LATENCY_GUESS  # a quota that was told need not be felt for
        if self.ramping:
            return int(self._allowed)
        return math.ceil(1.5 * self._rates["requests"].pace * latency) + 2

    def starved_for(self, now: float) -> float:
        """Return for how many seconds requests have been refused and none served."""
        return 0.0 if self._starved_since is None else now - self._starved_since

    def expected_tokens(self, estimate: float) -> float:
        """Return an estimate of tokens, corrected by what was billed for such estimates so far."""
        return estimate * self._billed / self._estimated if self._estimated else estimate

    def next_at(self, now: float) -> float:
        """Return when the next request may leave; infinity where an answer must come first.

        Asked only when a request waits for it.
        """
        due = self._next_at(now)
        if due > now:
            self._limiting = True
        return due

    def _next_at(self, now: float) -> float:
        if self._closure is not None:
            return math.inf if self._closure.probing else max(now, self._closure.probe_at)
        if self._edge is not None:
            if now < self._edge.until:
                return self._edge.until
            self._leave_edge(self._edge, now)
            return self._next_at(now)
        if self.in_flight >= self.bound:
            return math.inf
        spacings: list[Spacing] = [*self._rates.values()]
        if self.ramping:
            spacings.append(self._ramp)
        return max(now, self._not_before, *(spacing.next_at for spacing in spacings))

    def leave(self, now: float, tokens: float) -> Permit:
        """Return the permit of a request that leaves now.

        Args:
            now: Now.
            tokens: The tokens it is expected to cost.
        """
        if self._started_at is None:
            self._started_at = self._open.since = now
            self._trust_published(now)
        permit = Permit(now, tokens, probe=self._closure is not None)
        if self._closure is not None:
            self._closure.probing = True
        self.in_flight += 1
        self._flight.add(permit)
        self._left_at = now
        for quota, rate in self._rates.items():
            rate.leave(now, 1.0 if quota == "requests" else tokens, limiting=self._limiting)
        if self.ramping:
            self._ramp.spend(now, 1 / self._ramp_pace())
        self._ramp_limits, self._limiting = self._limiting, False
        return permit

    def _trust_published(self, now: float) -> None:
        for quota, per_second in (self._published or {}).items():
            if quota not in self._rates:
                self._rates[quota] = Rate(CAUTION * per_second, now, sureness=_PUBLISHED_SURENESS)

    def _ramp_pace(self) -> float:
        if self._latency is None:
            return _STARTING_PACE
        return max(_STARTING_PACE, self._allowed / self._latency)

    def expect(self, permit: Permit, tokens: float) -> None:
        """Correct what a request that just left is expected to cost."""
        if "tokens" in self._rates:
            self._rates["tokens"].correct(permit.tokens, tokens)
        permit.tokens = tokens

    def give_back(self, permit: Permit) -> None:
        """Take back a permit with which nothing was sent."""
        self.answer(permit, Outcome("other"), permit.sent_at)

    def answer(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Learn from what became of a request."""
        self.in_flight -= 1
        self._flight.discard(permit)
        if outcome.kind == "served":
            self._serve(permit, outcome.tokens, now)
        elif outcome.kind != "other":
            self._refuse(permit, outcome.kind, outcome.retry_after, now)
        elif permit.probe and self._closure is not None:
            self._closure.probing = False
        edge = self._edge
        if edge is not None:
            if outcome.kind == "served" and permit.sent_at > edge.first:
                edge.requests += 1
                edge.tokens += outcome.tokens
            edge.waiting.discard(permit)
            if not edge.waiting:
                self._leave_edge(edge, now)

    def _serve(self, permit: Permit, tokens: int, now: float) -> None:
        latency = max(now - permit.sent_at, 1e-6)
        before = self._latency
        self._latency = latency if before is None else before + (latency - before) / 10
        self.served += 1
        self._starved_since = None
        self._refused_in_row = 0
        self._open.requests += 1
        self._open.tokens += tokens
        self._billed = 0.99 * self._billed + tokens
        self._estimated = 0.99 * self._estimated + permit.tokens
        for quota, rate in self._rates.items():
            rate.serve(permit.sent_at, 1.0 if quota == "requests" else tokens)
        if "tokens" in self._rates:
            self._rates["tokens"].correct(permit.tokens, tokens)
        if self.ramping and self._ramp_limits:
            self._allowed += max(_RISE, _RISE_BY_LATENCY * self._latency)
        if self._closure is not None and permit.sent_at >= self._closure.since:
            self._reopen(self._closure, permit, tokens, now)

    def _refuse(
        self,
        permit: Permit,
        quota: Quota | Literal["burst"],
        retry_after: float | None,
        now: float,
    ) -> None:
        if self._starved_since is None:
            self._starved_since = now
        if retry_after is not None and retry_after > _WAIT_OF_ONE:
            self._not_before = max(self._not_before, now + min(retry_after, _LONGEST_PAUSE))
        closure = self._closure
        if closure is not None:
            if permit.probe:
                closure.probing = False
                closure.probes += 1
                closure.refused_at = permit.sent_at
                wait = min(_LONGEST_PROBE, _FIRST_PROBE * 2**closure.probes)
                closure.probe_at = max(self._not_before, now + wait)
            return
        self._refused_in_row += 1
        if quota == "burst":
            self._smooth(permit, now)
        elif self._edge is None and quota not in self._rates:
            until = now + 2 * (self._latency or _LATENCY_GUESS)
            unit = max(1.0, permit.tokens)
            self._edge = _Edge(quota, unit, permit.sent_at, self._left_at, until, set(self._flight))
        elif self._edge is None:
            self._rates[quota].refuse(permit.sent_at, now)
            if self._refused_in_row >= _REFUSALS_THAT_CLOSE:
                self._close(now)

    def _smooth(self, permit: Permit, now: float) -> None:
        if self.ramping:
            self._rates["requests"] = Rate(self._ramp_pace(), now)
        self._rates["requests"].smooth(permit.sent_at, now)

    def _leave_edge(self, edge: _Edge, now: float) -> None:
        """Find the first pace for a quota, from the flight in which it was first used up."""
        self._edge = None
        if not self.served:  # which tells nothing of how much is
            self._close(now)
            return
        before = max(edge.first - (self._started_at or 0.0), 1e-9)
        if edge.quota == "requests":
            unit, at_edge = 1.0, float(edge.requests)
            served = self.served - at_edge
        else:
            requests = self._open.requests
            unit = max(1.0, self._open.tokens / requests) if requests else edge.unit
            at_edge = edge.tokens
            served = self._open.tokens - at_edge
        # A quota is kept by the second, so that a second's worth may have been there at the start.
        pace = max(served, unit) / (1 + before)
        if edge.requests:
            slot = 1 / (self.known_pace("requests") or self._ramp_pace())
            seconds = max(edge.last - edge.first, 0.0) + slot
            pace = (at_edge + 0.5 * unit) / max(seconds, 1e-3)
        elif edge.quota == "requests" and served >= 20:
            # Nothing at all was served any more, so the quota lies close below what was asked.
            pace = pace ** (1 - _TOWARDS_RAMP) * self._ramp_pace() ** _TOWARDS_RAMP
        if edge.quota == "requests":
            pace = min(pace, self._ramp_pace())
        rate = Rate(pace, now, unit=unit)
        rate.mark(edge.first, now)
        rate.next_at = now
        self._rates[edge.quota] = rate
        closed = self._refused_in_row >= _REFUSALS_THAT_CLOSE or self.served < COLD_START
        if not edge.requests and closed:
            self._close(now)

    def _close(self, now: float) -> None:
        self._closure = _Closure(
            since=now, probe_at=max(self._not_before, now + _FIRST_PROBE), refused_at=now
        )

    def _reopen(self, closure: _Closure, permit: Permit, tokens: int, now: float) -> None:
        self._closure = None
        before = self._open
        for quota, rate in self._rates.items():
            served = before.requests - 1 if quota == "requests" else before.tokens - tokens
            rate.reopen(
                permit.sent_at,
                now,
                cycle=Cycle(before.since, before.requests, max(0.0, served)),
                refused_at=closure.refused_at,
                closed_at=closure.since,
            )
        self._open = _Open(permit.sent_at, 1, tokens)
