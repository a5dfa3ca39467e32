"""The results of a run, and how much is measured."""

from __future__ import annotations

from dataclasses import dataclass, field

import queries
import quotas
import rounds

LATENCY = 0.1
"""Seconds per request at which the targets of throughput hold."""


@dataclass(frozen=True)
class Effort:
    """The size of each measurement.

    Attributes:
        texts: Texts of a call at the target latency.
        charted_texts: Texts of a call at other latencies.
        rounds: Rounds with latency and under quotas.
        cpu_rounds: Rounds without latency, which are short.
        latencies: Seconds per request, of the chart and of the targets.
        quota_seconds: Seconds of a call at the full quota.
        queries: Single queries per interface and round.
    """

    texts: int = 10_000
    charted_texts: int = 5_000
    rounds: int = 3
    cpu_rounds: int = 5
    latencies: tuple[float, ...] = (0.02, 0.05, LATENCY, 0.2, 0.4)
    quota_seconds: float = 20.0
    queries: int = 500


FULL = Effort()
QUICK = Effort(
    texts=1_000,
    charted_texts=1_000,
    rounds=1,
    cpu_rounds=1,
    latencies=(0.02, LATENCY, 0.4),
    quota_seconds=4.0,
    queries=100,
)


@dataclass
class Results:
    """The rounds of each measurement; empty for those not selected.

    Attributes:
        effort: The size of the measurements.
        cpu: Calls without latency.
        throughput: Calls by the seconds that a request takes.
        quotas: Calls under quotas.
        queries: Single queries.
    """

    effort: Effort
    cpu: list[rounds.Round] = field(default_factory=list)
    throughput: dict[float, list[rounds.Round]] = field(default_factory=dict)
    quotas: dict[quotas.Case, list[quotas.Outcome]] = field(default_factory=dict)
    queries: list[dict[str, queries.Latency]] = field(default_factory=list)
