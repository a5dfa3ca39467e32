"""Decides how many requests of an account may be in flight, and when the next may be sent.

An account is a state machine, for one model:

    ┌────────────┐  first 429 of a quota  ┌───────────┐
    │ slow start ├───────────────────────▶│ measuring │
    │     or     │                        │           │
    │   paced    │◀───────────────────────┤           │
    └──┬─────────┘     rate estimated     └─────┬─────┘
       │       ▲                                │
       │ 429s  │ a request                      │ nothing
       │ in a  │ is served                      │ is served
       │ row   │                                │
       ▼       │                                │
    ┌──────────┴─┐                              │
    │   outage   │◀─────────────────────────────┘
    └────────────┘

- Slow start: no quota of requests is known. Concurrency grows with each request served. It ends
  permanently once that quota is configured, published or discovered.
- Measuring: a quota was exhausted for the first time. Nothing more is sent until the requests in
  flight have ended; how many of them are served shows the rate of the quota.
- Paced: requests are spaced evenly, at the pace of `qwen_embed.rate_limit.estimator` for each known
  quota.
- Outage: everything is throttled. One request at a time probes whether it is over.

A quota of tokens may be known in any state, and paces requests in slow start, too. All of it is
arithmetic on times that are passed in; nothing waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from qwen_embed.rate_limit.estimator import RateEstimator, ServedPeriod
from qwen_embed.rate_limit.pacer import Pacer
from qwen_embed.rate_limit.tuning import TUNING

Quota = Literal["requests", "tokens"]


@dataclass(eq=False)
class Permit:
    """Permission to send one request.

    Attributes:
        sent_at: When it was granted, in seconds of the clock.
        tokens: The tokens that the request is expected to cost.
        probe: Whether the request probes if an outage is over.
    """

    sent_at: float
    tokens: float
    probe: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a request ended.

    Attributes:
        kind: Served; throttled by the quota of requests or of tokens; throttled because requests
            came in a burst; or anything else, which says nothing about quotas.
        tokens: The tokens billed.
        retry_after: The service's `Retry-After` in seconds, or `None`.
    """

    kind: Literal["served", "requests", "tokens", "burst", "other"]
    tokens: int = 0
    retry_after: float | None = None


@dataclass(frozen=True)
class SlowStart:
    """No quota of requests is known."""


@dataclass(frozen=True)
class Paced:
    """The quota of requests is known."""


@dataclass(frozen=True)
class Measuring:
    """A quota was exhausted for the first time, and the requests in flight show its rate.

    Attributes:
        quota: Which one.
        throttled: The permit of the request that was throttled.
        last_sent_at: When the last request was sent.
        deadline: When to stop waiting for the requests in flight.
        pending: The permits of those that have not ended yet.
        requests: How many requests sent after the throttled one were served.
        tokens: What they cost.
    """

    quota: Quota
    throttled: Permit
    last_sent_at: float
    deadline: float
    pending: frozenset[Permit]
    requests: int = 0
    tokens: float = 0.0

    def count(self, permit: Permit, outcome: Outcome) -> Measuring:
        """Return the state after a request has ended."""
        counts = outcome.kind == "served" and permit.sent_at > self.throttled.sent_at
        return replace(
            self,
            pending=self.pending - {permit},
            requests=self.requests + counts,
            tokens=self.tokens + (outcome.tokens if counts else 0),
        )


@dataclass(frozen=True)
class Outage:
    """Everything is throttled.

    Attributes:
        since: When that was noticed.
        probe_at: When to send the next probe.
        throttled_at: When the last throttled probe was sent.
        failed_probes: How many probes were throttled.
        probing: Whether a probe is in flight.
    """

    since: float
    probe_at: float
    throttled_at: float
    failed_probes: int = 0
    probing: bool = False


State: TypeAlias = SlowStart | Paced | Measuring | Outage


@dataclass(frozen=True)
class QuotaKnown:
    """A quota was configured or published."""


@dataclass(frozen=True)
class Waiting:
    """A request is waiting to be sent."""

    now: float


@dataclass(frozen=True)
class Sent:
    """A request is sent."""


@dataclass(frozen=True)
class Ended:
    """A request has ended."""

    permit: Permit
    outcome: Outcome
    now: float


Event: TypeAlias = QuotaKnown | Waiting | Sent | Ended


@dataclass
class _Served:
    """What was served since the start or the last recovery."""

    since: float = 0.0
    requests: int = 0
    tokens: float = 0.0


class Account:
    """What is known of an account's quotas for one model.

    Each request takes four calls: `record_waiting`, `next_at`, `grant` and `record_outcome`.

    Args:
        published: The quotas that the service publishes for the model, per second, or `None`.

    Attributes:
        state: The current state.
        in_flight: How many requests are in flight.
        served: How many requests have been served.
    """

    def __init__(self, published: Mapping[Quota, float] | None = None) -> None:
        self.state: State = SlowStart()
        self.in_flight = 0
        self.served = 0
        self._published = published
        self._configured: dict[Quota, float | None] = {"requests": None, "tokens": None}
        self._estimators: dict[Quota, RateEstimator] = {}
        self._slow_start_pacer = Pacer()
        self._slow_start_concurrency = float(TUNING.initial_concurrency)
        self._latency: float | None = None
        self._billed = 0.0
        self._estimated = 0.0
        self._pending: set[Permit] = set()
        self._throttled_in_row = 0
        self._throttled_since: float | None = None
        self._not_before = -math.inf
        self._limits_next = False
        self._limited_last = False
        self._started_at: float | None = None
        self._last_sent_at = -math.inf
        self._served_period = _Served()

    def configure(self, quota: Quota, per_second: float | None, now: float) -> None:
        """Set a quota that must never be exceeded, or `None` to discover it."""
        if per_second == self._configured[quota]:
            return
        self._configured[quota] = per_second
        estimator = self._estimators.get(quota)
        if per_second is not None:
            ceiling = TUNING.safety_margin * per_second
            self._estimators[quota] = RateEstimator(
                ceiling,
                now,
                confidence=TUNING.configured_confidence,
                request_size=estimator.request_size if estimator else 1.0,
                ceiling=ceiling,
            )
            self._handle(QuotaKnown())
        elif estimator is not None:
            estimator.ceiling = None

    def _use_published(self, now: float) -> None:
        for quota, per_second in (self._published or {}).items():
            if quota not in self._estimators:
                self._estimators[quota] = RateEstimator(
                    TUNING.safety_margin * per_second, now, confidence=TUNING.published_confidence
                )
        self._handle(QuotaKnown())

    def known_pace(self, quota: Quota) -> float | None:
        """Return the pace of a quota per second, or `None` if the quota is not known."""
        return self._estimators[quota].pace if quota in self._estimators else None

    @property
    def _requests_known(self) -> bool:
        return "requests" in self._estimators

    @property
    def concurrency(self) -> int:
        """How many requests may be in flight: as many as pace and latency need."""
        latency = self._latency
        if latency is None:
            if self._configured["requests"] is None:
                return TUNING.initial_concurrency
            latency = TUNING.default_latency
        if not self._requests_known:
            return int(self._slow_start_concurrency)
        in_flight = TUNING.concurrency_headroom * self._estimators["requests"].pace * latency
        return math.ceil(in_flight) + TUNING.spare_concurrency

    def throttled_for(self, now: float) -> float:
        """Return for how many seconds every request has been throttled."""
        return 0.0 if self._throttled_since is None else now - self._throttled_since

    def expected_tokens(self, estimate: float) -> float:
        """Return an estimate of tokens, scaled by what was billed for earlier estimates."""
        return estimate * self._billed / self._estimated if self._estimated else estimate

    def record_waiting(self, now: float) -> None:
        """Record that a request is waiting to be sent."""
        self._handle(Waiting(now))
        if self.next_at(now) > now:
            self._limits_next = True

    def next_at(self, now: float) -> float:
        """Return when the waiting request may be sent.

        Infinity means that another request must end first. Asking changes nothing.
        """
        match self.state:
            case Outage(probing=True):
                return math.inf
            case Outage(probe_at=at) | Measuring(deadline=at):
                return max(now, at)
        if self.in_flight >= self.concurrency:
            return math.inf
        pacers = [estimator.pacer for estimator in self._estimators.values()]
        if isinstance(self.state, SlowStart):
            pacers.append(self._slow_start_pacer)
        return max(now, self._not_before, *(pacer.next_at for pacer in pacers))

    def grant(self, now: float, tokens: float) -> Permit:
        """Return the permit of a request that is sent now.

        Args:
            now: The current time.
            tokens: The tokens that it is expected to cost.
        """
        if self._started_at is None:
            self._started_at = self._served_period.since = now
            self._use_published(now)
        permit = Permit(now, tokens, probe=isinstance(self.state, Outage))
        self.in_flight += 1
        self._pending.add(permit)
        self._last_sent_at = now
        for quota, estimator in self._estimators.items():
            amount = 1.0 if quota == "requests" else tokens
            estimator.record_sent(now, amount, limited=self._limits_next)
        if not self._requests_known:
            self._slow_start_pacer.spend(now, 1 / self._slow_start_pace)
        self._limited_last, self._limits_next = self._limits_next, False
        self._handle(Sent())
        return permit

    @property
    def _slow_start_pace(self) -> float:
        if self._latency is None:
            return TUNING.initial_pace
        return max(TUNING.initial_pace, self._slow_start_concurrency / self._latency)

    def update_estimate(self, permit: Permit, tokens: float) -> None:
        """Set what a request is expected to cost, once its texts are known."""
        if "tokens" in self._estimators:
            self._estimators["tokens"].update_estimate(permit.tokens, tokens)
        permit.tokens = tokens

    def record_outcome(self, permit: Permit, outcome: Outcome, now: float) -> None:
        """Record how a request ended."""
        self.in_flight -= 1
        self._pending.discard(permit)
        if outcome.kind == "served":
            self._record_served(permit, outcome.tokens, now)
        elif outcome.kind != "other":
            self._record_throttled(outcome.retry_after, now)
        self._handle(Ended(permit, outcome, now))

    def _record_served(self, permit: Permit, tokens: int, now: float) -> None:
        latency = max(now - permit.sent_at, 1e-6)
        before = self._latency
        self._latency = (
            latency if before is None else before + (latency - before) / TUNING.latency_samples
        )
        self.served += 1
        self._throttled_since = None
        self._throttled_in_row = 0
        self._served_period.requests += 1
        self._served_period.tokens += tokens
        self._billed = TUNING.billing_decay * self._billed + tokens
        self._estimated = TUNING.billing_decay * self._estimated + permit.tokens
        for quota, estimator in self._estimators.items():
            estimator.record_served(permit.sent_at, 1.0 if quota == "requests" else tokens)
        if "tokens" in self._estimators:
            self._estimators["tokens"].update_estimate(permit.tokens, tokens)
        if not self._requests_known and self._limited_last:
            self._slow_start_concurrency += max(
                TUNING.concurrency_growth, TUNING.concurrency_growth_by_latency * self._latency
            )

    def _record_throttled(self, retry_after: float | None, now: float) -> None:
        self._throttled_in_row += 1
        if self._throttled_since is None:
            self._throttled_since = now
        if retry_after is not None and retry_after > TUNING.request_retry_after:
            pause = min(retry_after, TUNING.longest_pause)
            self._not_before = max(self._not_before, now + pause)

    def _handle(self, event: Event) -> None:
        """Move to the state after an event. Nothing else changes the state."""
        match self.state, event:
            case Measuring() as measuring, Waiting(now):
                if now >= measuring.deadline:
                    self.state = self._after_measuring(measuring, now)
            case Measuring() as measuring, Ended():
                self.state = self._measure(measuring, event)
            case Outage() as outage, Sent():
                self.state = replace(outage, probing=True)
            case Outage() as outage, Ended():
                self.state = self._after_probe(outage, event)
            case SlowStart() | Paced(), QuotaKnown():
                self.state = self._normal()
            case SlowStart() | Paced(), Ended():
                self.state = self._after_request(event)

    def _normal(self) -> SlowStart | Paced:
        return Paced() if self._requests_known else SlowStart()

    def _outage(self, now: float) -> Outage:
        probe_at = max(self._not_before, now + TUNING.first_probe)
        return Outage(since=now, probe_at=probe_at, throttled_at=now)

    def _after_request(self, event: Ended) -> State:
        """Return the state after a request has ended in slow start or while paced."""
        permit, now, kind = event.permit, event.now, event.outcome.kind
        match kind:
            case "burst":
                self._slow_down(permit, now)
            case "requests" | "tokens":
                if kind not in self._estimators:
                    return self._start_measuring(kind, event)
                self._estimators[kind].record_throttled(permit.sent_at, now)
                if self._throttled_in_row >= TUNING.throttles_until_outage:
                    return self._outage(now)
        return self._normal()

    def _slow_down(self, permit: Permit, now: float) -> None:
        if not self._requests_known:
            self._estimators["requests"] = RateEstimator(self._slow_start_pace, now)
        self._estimators["requests"].record_burst(permit.sent_at, now)

    def _start_measuring(self, quota: Quota, event: Ended) -> State:
        wait = TUNING.measuring_latencies * (self._latency or TUNING.default_latency)
        measuring = Measuring(
            quota=quota,
            throttled=event.permit,
            last_sent_at=self._last_sent_at,
            deadline=event.now + wait,
            pending=frozenset(self._pending),
        )
        return self._measure(measuring, event)

    def _measure(self, measuring: Measuring, event: Ended) -> State:
        """Return the state after a request has ended while measuring."""
        if event.outcome.kind == "burst":
            self._slow_down(event.permit, event.now)
        measuring = measuring.count(event.permit, event.outcome)
        return measuring if measuring.pending else self._after_measuring(measuring, event.now)

    def _after_measuring(self, measuring: Measuring, now: float) -> State:
        """Estimate the rate of the quota, unless nothing was ever served."""
        if not self.served:
            return self._outage(now)
        pace, request_size = self._measured(measuring)
        estimator = RateEstimator(pace, now, request_size=request_size)
        estimator.record_exhausted(measuring.throttled.sent_at, now)
        estimator.pacer.restart(now)
        self._estimators[measuring.quota] = estimator
        if measuring.requests:
            return self._normal()
        many = self._throttled_in_row >= TUNING.throttles_until_outage
        few_served = self.served < TUNING.initial_concurrency
        return self._outage(now) if many or few_served else self._normal()

    def _measured(self, measuring: Measuring) -> tuple[float, float]:
        """Return the first estimate of a quota's rate, and the average size of a request."""
        first_sent_at = measuring.throttled.sent_at
        before = max(first_sent_at - (self._started_at or 0.0), 1e-9)
        period = self._served_period
        if measuring.quota == "requests":
            request_size, since_throttle = 1.0, float(measuring.requests)
            served = self.served - since_throttle
        else:
            average = period.tokens / period.requests if period.requests else None
            request_size = max(1.0, measuring.throttled.tokens if average is None else average)
            since_throttle = measuring.tokens
            served = period.tokens - since_throttle
        # The service may have granted a second's worth at the start, hence one second more.
        pace = max(served, request_size) / (1 + before)
        if measuring.requests:
            slot = 1 / (self.known_pace("requests") or self._slow_start_pace)
            seconds = max(measuring.last_sent_at - first_sent_at, 0.0) + slot
            pace = (since_throttle + 0.5 * request_size) / max(seconds, 1e-3)
        elif measuring.quota == "requests" and served >= TUNING.trusted_requests:
            # Every later request was throttled, so the quota is just below slow start's pace.
            towards = TUNING.towards_slow_start
            pace = pace ** (1 - towards) * self._slow_start_pace**towards
        if measuring.quota == "requests":
            pace = min(pace, self._slow_start_pace)
        return pace, request_size

    def _after_probe(self, outage: Outage, event: Ended) -> State:
        """Return the state after a request has ended during an outage, usually a probe."""
        permit, now = event.permit, event.now
        if event.outcome.kind == "served":
            if permit.sent_at < outage.since:
                return outage
            self._recover(outage, permit, event.outcome.tokens, now)
            return self._normal()
        if not permit.probe:
            return outage
        if event.outcome.kind == "other":
            return replace(outage, probing=False)
        failed = outage.failed_probes + 1
        wait = min(TUNING.longest_probe, TUNING.first_probe * 2**failed)
        return Outage(
            since=outage.since,
            probe_at=max(self._not_before, now + wait),
            throttled_at=permit.sent_at,
            failed_probes=failed,
        )

    def _recover(self, outage: Outage, permit: Permit, tokens: int, now: float) -> None:
        """Estimate every rate again from what was served before the outage."""
        served = self._served_period
        for quota, estimator in self._estimators.items():
            amount = served.requests - 1 if quota == "requests" else served.tokens - tokens
            estimator.recover(
                permit.sent_at,
                now,
                period=ServedPeriod(served.since, served.requests, max(0.0, amount)),
                throttled_at=outage.throttled_at,
                outage_since=outage.since,
            )
        self._served_period = _Served(permit.sent_at, 1, tokens)
