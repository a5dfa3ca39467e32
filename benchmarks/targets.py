"""The targets of this package, and whether they are met."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import queries
import quotas
import rounds
from contenders import (
    ARRAY,
    BASELINE,
    DASHSCOPE,
    LLAMAINDEX,
    OVER_DASHSCOPE,
    OVER_OPENAI,
    PACKED,
    RUST_ARRAY,
    SYNC,
    Contender,
)
from results import LATENCY, Results


@dataclass(frozen=True)
class Figure:
    """A figure and its limit.

    Attributes:
        value: The measured value; NaN if it was not measured.
        limit: The minimum or the maximum.
        least: Whether the limit is a minimum.
        what: Its name, if a target has more than one figure.
        form: How it is formatted.
    """

    value: float
    limit: float
    least: bool
    what: str = ""
    form: str = ".2f"

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def required(self) -> str:
        """The limit as text."""
        return f"{'≥' if self.least else '≤'} {self.limit:{self.form}}"

    @property
    def reached(self) -> str:
        """The value as text."""
        value = "–" if math.isnan(self.value) else f"{self.value:{self.form}}"
        return f"{self.what} {value}".strip()


@dataclass(frozen=True)
class Target:
    """A target.

    Attributes:
        name: What it is about.
        figures: All of them must meet their limits.
    """

    name: str
    figures: tuple[Figure, ...]

    @property
    def verdict(self) -> str:
        """Whether it is met."""
        if all(math.isnan(figure.value) for figure in self.figures):
            return "not measured"
        return "met" if all(figure.met for figure in self.figures) else "**MISSED**"


def targets(results: Results) -> list[Target]:
    """Return the targets of everything that was measured."""
    found: list[Target] = []
    if results.cpu:
        found += _cpu_targets(results.cpu)
    if LATENCY in results.throughput:
        found += _throughput_targets(results.throughput[LATENCY])
    if results.quotas:
        found += _quota_targets(results.quotas)
    if results.queries:
        found += _query_targets(results.queries)
    return found


def _cpu_targets(measured: list[rounds.Round]) -> Iterator[Target]:
    target = partial(_ratio_target, "CPU time", measured, rounds.cpu)
    yield target(SYNC, BASELINE, at_most=1.15)
    yield target(LLAMAINDEX, BASELINE, at_most=1.15)
    yield target(ARRAY, BASELINE, at_most=0.85)
    yield target(ARRAY, RUST_ARRAY, at_most=1.0)
    yield target(DASHSCOPE, SYNC, at_least=5.0)
    yield target(OVER_DASHSCOPE, ARRAY, at_most=3.0)
    yield target(OVER_OPENAI, PACKED, at_most=3.0)


def _throughput_targets(measured: list[rounds.Round]) -> Iterator[Target]:
    target = partial(_ratio_target, f"throughput at {LATENCY * 1000:g} ms", measured, rounds.rate)
    yield target(SYNC, BASELINE, at_least=0.9)
    yield target(LLAMAINDEX, BASELINE, at_least=0.9)
    yield target(SYNC, DASHSCOPE, at_least=25.0)


def _ratio_target(
    what: str,
    measured: list[rounds.Round],
    figure: Callable[[rounds.Measurement], float],
    contender: Contender,
    other: Contender,
    *,
    at_least: float | None = None,
    at_most: float = math.inf,
) -> Target:
    value = rounds.ratio(measured, contender, other, figure)
    limit, least = (at_most, False) if at_least is None else (at_least, True)
    return Target(f"{what}: {contender.name}, times {other.name}", (Figure(value, limit, least),))


def _quota_targets(measured: dict[quotas.Case, list[quotas.Outcome]]) -> Iterator[Target]:
    limits: dict[quotas.Knowledge, tuple[float, float]] = {
        "configured": (0.97, 0.005),
        "unknown": (0.93, 0.03),
        "second call": (0.97, 0.015),
    }
    for knowledge, (used, throttled) in limits.items():
        for rate in quotas.RATES:
            outcomes = [
                quotas.middle(each)
                for case, each in measured.items()
                if (case.knowledge, case.rate, case.note) == (knowledge, rate, "")
            ]
            worst = _worst(outcomes)
            yield Target(
                f"quota {knowledge}, {rate}/s, the worse of both buckets",
                (
                    Figure(worst.used, used, least=True, what="used"),
                    Figure(worst.throttled, throttled, least=False, what="throttled", form=".1%"),
                    Figure(worst.lost, 0, least=False, what="texts lost", form=".0f"),
                ),
            )


def _worst(outcomes: list[quotas.Outcome]) -> quotas.Outcome:
    if not outcomes:
        return quotas.Outcome(math.nan, math.nan, math.nan)
    lost = [each.lost for each in outcomes]
    return quotas.Outcome(
        used=min(each.used for each in outcomes),
        throttled=max(each.throttled for each in outcomes),
        lost=math.nan if any(map(math.isnan, lost)) else max(lost),
    )


def _query_targets(measured: list[dict[str, queries.Latency]]) -> Iterator[Target]:
    for name in (queries.SYNC, queries.AEMBED):
        value = queries.added(measured, name, lambda latency: latency.p50)
        yield Target(f"{name}: p50 added to a bare call, ms", (Figure(value, 0.5, least=False),))
