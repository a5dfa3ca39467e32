"""The bars that this package is held to, and whether they are met."""

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
    DASHSCOPE,
    FLOOR,
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
    """A figure and its bar.

    Attributes:
        value: What was reached; NaN where it was not measured.
        limit: The least, or the most, that is asked.
        least: Whether the limit is the least.
        what: What it is, where a bar has more than one.
        form: How it is printed.
    """

    value: float
    limit: float
    least: bool
    what: str = ""
    form: str = ".2f"

    @property
    def met(self) -> bool:
        """Whether the bar is met."""
        return self.value >= self.limit if self.least else self.value <= self.limit

    @property
    def asked(self) -> str:
        """The bar in words."""
        return f"{'≥' if self.least else '≤'} {self.limit:{self.form}}"

    @property
    def reached(self) -> str:
        """The value in words."""
        value = "–" if math.isnan(self.value) else f"{self.value:{self.form}}"
        return f"{self.what} {value}".strip()


@dataclass(frozen=True)
class Bar:
    """What is asked of one thing.

    Attributes:
        name: The thing.
        figures: All of them must meet their bars.
    """

    name: str
    figures: tuple[Figure, ...]

    @property
    def verdict(self) -> str:
        """Whether it is met."""
        if all(math.isnan(figure.value) for figure in self.figures):
            return "not measured"
        return "met" if all(figure.met for figure in self.figures) else "**MISSED**"


def bars(results: Results) -> list[Bar]:
    """Return the bars of all that was measured."""
    found: list[Bar] = []
    if results.cpu:
        found += _cpu_bars(results.cpu)
    if LATENCY in results.throughput:
        found += _throughput_bars(results.throughput[LATENCY])
    if results.quotas:
        found += _quota_bars(results.quotas)
    if results.queries:
        found += _query_bars(results.queries)
    return found


def _cpu_bars(measured: list[rounds.Round]) -> Iterator[Bar]:
    bar = partial(_ratio_bar, "CPU time", measured, rounds.cpu)
    yield bar(SYNC, FLOOR, at_most=1.15)
    yield bar(LLAMAINDEX, FLOOR, at_most=1.15)
    yield bar(ARRAY, FLOOR, at_most=0.85)
    yield bar(ARRAY, RUST_ARRAY, at_most=1.0)
    yield bar(DASHSCOPE, SYNC, at_least=5.0)
    yield bar(OVER_DASHSCOPE, ARRAY, at_most=3.0)
    yield bar(OVER_OPENAI, PACKED, at_most=3.0)


def _throughput_bars(measured: list[rounds.Round]) -> Iterator[Bar]:
    bar = partial(_ratio_bar, f"throughput at {LATENCY * 1000:g} ms", measured, rounds.rate)
    yield bar(SYNC, FLOOR, at_least=0.9)
    yield bar(LLAMAINDEX, FLOOR, at_least=0.9)
    yield bar(SYNC, DASHSCOPE, at_least=25.0)


def _ratio_bar(
    what: str,
    measured: list[rounds.Round],
    figure: Callable[[rounds.Measurement], float],
    contender: Contender,
    other: Contender,
    *,
    at_least: float | None = None,
    at_most: float = math.inf,
) -> Bar:
    value = rounds.ratio(measured, contender, other, figure)
    limit, least = (at_most, False) if at_least is None else (at_least, True)
    return Bar(f"{what}: {contender.name}, times {other.name}", (Figure(value, limit, least),))


def _quota_bars(measured: dict[quotas.Case, list[quotas.Outcome]]) -> Iterator[Bar]:
    limits: dict[quotas.Knowledge, tuple[float, float]] = {
        "told": (0.97, 0.005),
        "unknown": (0.93, 0.03),
        "second call": (0.97, 0.015),
    }
    for knowledge, (used, refused) in limits.items():
        for rate in quotas.RATES:
            outcomes = [
                quotas.middle(each)
                for case, each in measured.items()
                if (case.knowledge, case.rate, case.note) == (knowledge, rate, "")
            ]
            worst = _worst(outcomes)
            yield Bar(
                f"quota {knowledge}, {rate}/s, the worse of both buckets",
                (
                    Figure(worst.used, used, least=True, what="used"),
                    Figure(worst.refused, refused, least=False, what="refused", form=".1%"),
                    Figure(worst.lost, 0, least=False, what="texts lost", form=".0f"),
                ),
            )


def _worst(outcomes: list[quotas.Outcome]) -> quotas.Outcome:
    if not outcomes:
        return quotas.Outcome(math.nan, math.nan, math.nan)
    lost = [each.lost for each in outcomes]
    return quotas.Outcome(
        used=min(each.used for each in outcomes),
        refused=max(each.refused for each in outcomes),
        lost=math.nan if any(map(math.isnan, lost)) else max(lost),
    )


def _query_bars(measured: list[dict[str, queries.Latency]]) -> Iterator[Bar]:
    for name in (queries.SYNC, queries.AEMBED):
        value = queries.added(measured, name, lambda latency: latency.p50)
        yield Bar(f"{name}: p50 added to a bare call, ms", (Figure(value, 0.5, least=False),))
