"""Estimates the rate that one quota of an account allows, from requests served and throttled.

A quota counts requests or tokens. Neither its size is known nor how the service enforces it: as a
bucket that fills steadily, or by the second or the minute. Three facts are certain, and the
estimate uses all of them:

- A 429 means that the quota was exhausted when the request arrived.
- What was served between two 429s is at most what the quota gave in between.
- If a share of the requests at some pace was served, the quota is about that share of the pace.

All of it is arithmetic on times that are passed in; nothing waits.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from qwen_embed.rate_limit.pacer import Pacer
from qwen_embed.rate_limit.tuning import TUNING


@dataclass(frozen=True)
class ServedPeriod:
    """What was served from the start, or from the last recovery, until an outage.

    Attributes:
        since: When its first request was sent.
        requests: How many requests were served, including the one that ended the outage.
        amount: The requests or tokens served before the outage, whichever the quota counts.
    """

    since: float
    requests: int
    amount: float


@dataclass
class _Exhaustion:
    """A moment when the quota was exhausted, and what was served of requests sent later."""

    sent_at: float
    served: float = 0.0


class RateEstimator:
    """Estimates the rate of one quota and paces requests by it.

    After a 429 the pace is set between the pace that was served for certain and the pace that was
    throttled. Then it grows: fast while confidence is low, slowly once several estimates have
    agreed, and faster the longer nothing is throttled, so that a raised quota is discovered.

    Args:
        pace: The initial pace, in requests or tokens per second.
        now: The current time, in seconds.
        confidence: How many estimates in a row have agreed.
        request_size: What one request counts for: 1, or its tokens.
        ceiling: A pace never to exceed, or `None`.

    Attributes:
        pacer: Spaces the requests.
        pace: The current pace, in requests or tokens per second.
        ceiling: A pace never to exceed, or `None`.
        request_size: What one request counts for, on average.
    """

    def __init__(
        self,
        pace: float,
        now: float,
        *,
        confidence: int = 1,
        request_size: float = 1.0,
        ceiling: float | None = None,
    ) -> None:
        self.pacer = Pacer()
        self.pace = max(pace, request_size / TUNING.slowest_request)
        self.ceiling = ceiling
        self.request_size = request_size
        self._confidence = confidence
        self._estimate = pace
        self._previous = (confidence, pace)
        self._exhaustions: deque[_Exhaustion] = deque(maxlen=TUNING.exhaustions_kept)
        self._served: deque[tuple[float, float]] = deque(maxlen=TUNING.history)
        self._served_since_lowered = 0
        self._lowered_at = -math.inf
        self._growing_since = now
        self._sent_at: float | None = None
        self._after_burst = False
        self._growth_seconds = 0.0

    def record_sent(self, now: float, amount: float, *, limited: bool) -> None:
        """Record that a request is sent.

        Args:
            now: When.
            amount: What it is expected to count for.
            limited: Whether the account delayed it, not the caller. Otherwise the pace was not
                put to the test, so it does not grow.
        """
        if self._sent_at is None:
            self.request_size = amount
        else:
            self.request_size += (amount - self.request_size) / TUNING.request_size_samples
            if limited:
                self._grow(now, min(now - self._sent_at, 1.0))
        self._sent_at = now
        self.pacer.spend(now, amount / self.pace)

    def _grow(self, now: float, seconds: float) -> None:
        slot = self.request_size / self.pace
        steady = min(1.0, (self._confidence - 1) / TUNING.steady_confidence)
        scale = max(
            1.0,
            steady * TUNING.slow_requests * slot,
            TUNING.least_slow_requests * slot,
            self._growth_seconds,
        )
        growth = TUNING.growth * TUNING.growth_per_confidence ** (self._confidence - 1)
        growth = max(TUNING.least_growth, growth)
        if self._after_burst:
            growth = min(growth, TUNING.growth_after_burst)
        doublings = (now - self._growing_since) / TUNING.growth_doubling / scale
        growth *= 2 ** min(TUNING.most_doublings, doublings)
        self.pace *= 1 + seconds * min(TUNING.most_growth, growth / scale)
        self._respect_ceiling()

    def update_estimate(self, estimated: float, actual: float) -> None:
        """Correct the amount of a request that was sent."""
        self.pacer.extend((actual - estimated) / self.pace)

    def record_served(self, sent_at: float, amount: float) -> None:
        """Record that a request was served."""
        self._served.append((sent_at, amount))
        self._served_since_lowered += 1
        for exhaustion in self._exhaustions:
            if sent_at > exhaustion.sent_at:
                exhaustion.served += amount

    def record_throttled(self, sent_at: float, now: float) -> None:
        """Lower the pace, unless the request was sent before the pace was last lowered."""
        if sent_at <= self._lowered_at:
            return
        served = self._served_since_lowered
        served_share = self.pace * (served + 1) / (served + 2)
        proven = min(self._proven(sent_at), self.pace)
        low = TUNING.below_proven * max(proven, TUNING.least_proven * served_share)
        between = low + TUNING.towards_throttled * (served_share - low)
        highest = TUNING.below_throttled * self.pace
        self._set_estimate(max(TUNING.below_proven * proven, min(highest, between)))
        self.record_exhausted(sent_at, now)

    def _proven(self, sent_at: float) -> float:
        """Return the best pace served since an earlier exhaustion: the quota is no lower."""
        kept = max(
            TUNING.exhaustions_kept_seconds,
            TUNING.exhaustions_kept_requests * self.request_size / self.pace,
        )
        return max(
            (
                (exhaustion.served - self.request_size) / (sent_at - exhaustion.sent_at)
                for exhaustion in self._exhaustions
                if 0 < sent_at - exhaustion.sent_at <= kept
            ),
            default=0.0,
        )

    def _set_estimate(self, pace: float) -> None:
        self._previous = (self._confidence, self._estimate)
        agrees = TUNING.agree_above < pace / self._estimate < TUNING.agree_below
        self._confidence = min(self._confidence + 1, TUNING.most_confidence) if agrees else 1
        self.pace = self._estimate = max(pace, self.request_size / TUNING.slowest_request)

    def record_exhausted(self, sent_at: float, now: float) -> None:
        """Record that the quota was exhausted when a request was sent, and that the pace is new."""
        served = sum(amount for at, amount in self._served if at > sent_at)
        self._exhaustions.append(_Exhaustion(sent_at, served))
        self._restart_growth(now)
        self.pacer.delay_until(now + self.request_size / self.pace)

    def _restart_growth(self, now: float) -> None:
        self._lowered_at = self._growing_since = now
        self._served_since_lowered = 0
        self._after_burst = False

    def record_burst(self, sent_at: float, now: float) -> None:
        """Halve the pace and let it grow slowly: the service wants it raised more gradually."""
        if sent_at <= self._lowered_at:
            return
        self.pace = max(
            self.pace / TUNING.burst_divisor, self.request_size / TUNING.slowest_request
        )
        self._restart_growth(now)
        self._after_burst = True
        self.pacer.restart(now + self.request_size / self.pace)

    def recover(
        self,
        sent_at: float,
        now: float,
        *,
        period: ServedPeriod,
        throttled_at: float,
        outage_since: float,
    ) -> None:
        """Estimate the pace after an outage, which shows that the quota is renewed by periods.

        Args:
            sent_at: When the request was sent that ended the outage.
            now: The current time.
            period: What was served before the outage.
            throttled_at: When the last throttled request was sent.
            outage_since: When the outage was noticed.
        """
        seconds = sent_at - period.since
        if seconds < TUNING.short_period:
            pace = TUNING.after_short_period * self.pace
        else:
            # The service has limits by the minute and by the second. The second ended at some time
            # between the last 429 and now, hence the mean of the two.
            in_a_second = (
                self._served_between(sent_at - 1, sent_at)
                - self.request_size
                + self._served_between(throttled_at - 1, throttled_at)
            ) / 2
            pace = max(period.amount / seconds, in_a_second, self.request_size / seconds)
        # The last 429 came from the outage and not from the pace, so its estimate is undone.
        self._confidence, self._estimate = self._previous
        self._set_estimate(pace)
        trusted = period.requests >= TUNING.trusted_period_requests
        self._confidence = max(self._confidence, TUNING.trusted_period_confidence) if trusted else 1
        self._respect_ceiling()
        long = sent_at - outage_since > TUNING.long_outage
        self._growth_seconds = seconds / TUNING.growth_periods if long else 0.0
        self._exhaustions.clear()
        self._exhaustions.append(_Exhaustion(sent_at))
        self._restart_growth(now)
        self._served_since_lowered = 1
        self.pacer.restart(now + self.request_size / self.pace)

    def _served_between(self, start: float, end: float) -> float:
        """Return what was served of requests sent after `start` and until `end`."""
        return sum(amount for at, amount in self._served if start < at <= end)

    def _respect_ceiling(self) -> None:
        if self.ceiling is not None:
            self.pace = min(self.pace, self.ceiling)
