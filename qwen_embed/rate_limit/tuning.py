"""The figures that decide how quotas are discovered."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tuning:
    """All tuning figures of rate limiting.

    They were found by a search over simulated services. The services in the tests are different.
    Paces are in requests or tokens per second, durations in seconds.
    """

    # Quotas known from outside
    safety_margin: float = 0.995  # share of such a quota that is used: clocks are not exact
    configured_confidence: int = 12  # initial confidence in a configured quota
    published_confidence: int = 2  # initial confidence in a published quota

    # Slow start
    initial_concurrency: int = 4  # requests in flight until the first is served
    initial_pace: float = 20.0  # least pace, in requests
    concurrency_growth: float = 0.12  # least increase of concurrency for each request served
    concurrency_growth_by_latency: float = 0.3  # increase per second of latency, if larger

    # Concurrency
    default_latency: float = 0.5  # assumed until the first request is served
    latency_samples: float = 10  # requests over which the latency is averaged
    concurrency_headroom: float = 1.5  # concurrency, relative to pace x latency
    spare_concurrency: int = 2  # requests added to it

    # Throttling
    request_retry_after: float = 2.0  # a Retry-After up to this delays its own request only
    longest_pause: float = 90.0  # a longer Retry-After is not obeyed in full
    billing_decay: float = 0.99  # weight of what was billed before, for each request served

    # Measuring, after the first 429 of a quota
    measuring_latencies: float = 2  # how long to wait for the requests in flight, in latencies
    trusted_requests: int = 20  # requests served before it, for slow start's pace to count
    towards_slow_start: float = 0.5  # weight of that pace if nothing more was served

    # Outages
    throttles_until_outage: int = 4  # 429s in a row
    first_probe: float = 0.15  # wait before the first probe; doubled after each that fails
    longest_probe: float = 8.0  # longest wait between probes

    # A new estimate, after a 429 of a quota that is known
    exhaustions_kept: int = 8  # most moments of exhaustion that are remembered
    exhaustions_kept_seconds: float = 30.0  # for how long they count
    exhaustions_kept_requests: float = 100  # or for how many requests, if that takes longer
    history: int = 1024  # most served requests that are remembered
    below_proven: float = 0.985  # relative to the pace served between two 429s
    below_throttled: float = 0.97  # most, relative to the pace that was throttled
    towards_throttled: float = 0.2  # where the estimate lies between the two
    least_proven: float = 0.4  # relative to the throttled pace, if nothing better is known
    slowest_request: float = 10.0  # the lowest pace is one request in this time
    request_size_samples: float = 20  # requests over which their size is averaged

    # Confidence: how many estimates in a row agreed
    agree_above: float = 0.75  # estimates agree if their ratio is above this
    agree_below: float = 1.33  # and below this
    most_confidence: int = 12
    steady_confidence: float = 3  # increase from 1 after which growth is slowed at low paces

    # Growth of a pace while nothing is throttled
    growth: float = 0.4  # per second, at confidence 1
    growth_per_confidence: float = 0.25  # factor for each further confidence
    least_growth: float = 0.003  # per second
    most_growth: float = 0.3  # per second
    growth_doubling: float = 1.5  # growth doubles in this time
    most_doublings: float = 20.0
    slow_requests: float = 30  # at a low pace, growth is per this many requests
    least_slow_requests: float = 2  # the same at confidence 1
    growth_after_burst: float = 0.05  # most growth per second after a 429 for bursts
    burst_divisor: float = 2  # the pace is divided by this after a 429 for bursts

    # Recovery from an outage
    short_period: float = 1.0  # a shorter served period tells nothing of the quota
    after_short_period: float = 0.7  # factor of the pace after one
    trusted_period_requests: int = 20  # requests in a served period for it to be trusted
    trusted_period_confidence: int = 3  # least confidence after one
    long_outage: float = 3  # a longer outage shows that the quota is renewed by periods
    growth_periods: float = 4  # growth is then per served period divided by this


TUNING = Tuning()
"""The figures in use."""
