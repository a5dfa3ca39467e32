"""Measures what the limiter makes of quotas on which it was not tuned, in simulated time."""

from __future__ import annotations

import argparse
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass

from simulation import Bucket, Client, Run, Service, Window

USED = 0.85
"""The part of the quota that must be used."""
LOW_RATE = 5.0


@dataclass(frozen=True)
class Condition:
    """A simulated service, and how long it is asked.

    Attributes:
        kind: Its kind, as the table names it.
        per_second: The quota.
        service: Keeps it.
        seconds: How long.
        seed: Of all that is random.
    """

    kind: str
    per_second: float
    service: Service
    seconds: float
    seed: int


def conditions(kind: str, count: int, seed: int) -> Iterator[Condition]:
    """Yield conditions of a kind, rates from 1 to 300 a second spread evenly by ratio."""
    chance = random.Random(f"{kind} {seed}")  # noqa: S311 -- no secret
    for number in range(count):
        rate = math.exp(chance.uniform(0, math.log(300)))
        depth = max(2.0, rate * chance.choice((0.0, 0.1, 0.3, 0.6, 1.0)))
        seconds = max(20.0, 100 / rate)
        service: Service
        if kind == "bucket":
            service = Bucket(rate, depth)
        elif kind == "bucket, throttling costs":
            service = Bucket(rate, depth, throttling_costs=True)
        elif kind == "window of a second":
            rate = max(1.0, round(rate))
            service = Window(rate, 1.0, chance.random())
        else:
            service = Window(rate, 60.0)
            seconds = 240.0
        yield Condition(kind, rate, service, seconds, number)


def holds(condition: Condition, latency: float) -> tuple[float, float, bool]:
    """Return the part used, the part throttled, and whether both are within the bars."""
    run = Run(
        {"requests": condition.service},
        [Client(max_concurrency=128)],
        condition.seconds,
        latency=latency,
        seed=condition.seed,
    )
    used, throttled = run.used(quota=condition.per_second), run.throttled()
    most_throttled = 0.10 if condition.per_second < LOW_RATE else 0.05
    return used, throttled, used >= USED and throttled <= most_throttled


def quantile(values: list[float], part: float) -> float:
    """Return the value below which a part of the values lies."""
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def main() -> None:
    """Print a line for each kind of service."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="of each kind (%(default)s)")
    parser.add_argument("--seed", type=int, default=2026)
    parser.add_argument("--latency", type=float, default=0.1, help="s (%(default)s)")
    options = parser.parse_args()
    print(
        f"| {options.latency:g} s a request | used: lowest tenth, median | throttled: median, "
        "highest tenth | within both bars |\n|---|---|---|---|"
    )
    for kind in ("bucket", "bucket, throttling costs", "window of a second", "window of a minute"):
        measured = [
            holds(each, options.latency) for each in conditions(kind, options.count, options.seed)
        ]
        used = [each[0] for each in measured]
        throttled = [each[1] for each in measured]
        print(
            f"| {kind} | {quantile(used, 0.1):.2f}, {quantile(used, 0.5):.2f} | "
            f"{quantile(throttled, 0.5):.1%}, {quantile(throttled, 0.9):.1%} | "
            f"{sum(each[2] for each in measured) / len(measured):.0%} |"
        )


if __name__ == "__main__":
    main()
