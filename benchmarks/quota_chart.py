"""The chart of how much of a quota is used against the share that is throttled."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import quotas
from charts import GREY, STYLES, Style, apart, blank, label, save
from contenders import BY_NAME
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

_OWN_LABELS: dict[quotas.Knowledge, str] = {
    "configured": "this package, quota configured",
    "second call": "this package, second call",
    "unknown": "this package, first call",
}
_OWN_MARKERS: dict[quotas.Knowledge, str] = {"configured": "o", "second call": "D", "unknown": "s"}
_FEW = 0.15
"""Labels of points with fewer 429s have a column of their own."""


@dataclass(frozen=True)
class _Point:
    text: str
    style: Style
    outcome: quotas.Outcome
    named: bool


def draw(measured: dict[quotas.Case, list[quotas.Outcome]], seconds: float, path: Path) -> None:
    """Draw each client at the first rate.

    Args:
        measured: The outcomes by case.
        seconds: What a call took at the whole quota.
        path: Where the chart goes.
    """
    rate, (shallow, deep) = quotas.RATES[0], quotas.DEPTHS
    figure, axes = blank(
        "Share of the quota used, by share of requests throttled",
        f"{rate} requests/s allowed for {seconds:g} s; "
        f"bursts of up to {shallow} (filled) or {deep} (hollow)",
    )
    labelled: list[_Point] = []
    for case, outcomes in measured.items():
        if case.rate != rate or case.note:
            continue
        middle, style = quotas.middle(outcomes), _style(case)
        axes.plot(
            middle.throttled,
            middle.used,
            color=style.colour,
            marker=style.marker,
            markersize=10,
            markeredgewidth=1.8,
            markerfacecolor=style.colour if case.depth == shallow else "white",
            clip_on=False,
            zorder=4 if style.own else 3,
        )
        text = style.label + _loss(middle.lost, case.texts(seconds))
        labelled.append(_Point(text, style, middle, named=case.depth == shallow))
    few = [each for each in labelled if each.outcome.throttled < _FEW]
    many = [each for each in labelled if each.outcome.throttled >= _FEW]
    _label_beside(axes, few, highest=0.91)  # below the line at 1
    _label_beside(axes, many, highest=math.inf)
    axes.axhline(1, color=GREY, linewidth=0.8, linestyle="--", zorder=0)
    axes.set_xlim(-0.01, max(0.6, *(each.outcome.throttled for each in labelled)))
    axes.set_ylim(0, 1.25)
    axes.set_xlabel("requests throttled", fontsize=11)
    axes.set_ylabel("quota used", fontsize=11)
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    save(figure, path)


def _label_beside(axes: Axes, points: list[_Point], highest: float) -> None:
    """Write labels in a column to the right of points, the first one no higher than that."""
    named = [each for each in points if each.named]
    places = apart([each.outcome.used for each in named], gap=0.095)
    lowered = max(0.0, max(places, default=0.0) - highest)
    column = max((each.outcome.throttled for each in points), default=0.0) + 0.04
    for each, place in zip(named, places, strict=True):
        point = (each.outcome.throttled, each.outcome.used)
        # What stands apart from the others at the top need not give way.
        height = place - lowered if place > highest - 0.5 else place
        label(axes, each.text, each.style, point, (column, height))


def _style(case: quotas.Case) -> Style:
    style = STYLES[BY_NAME[case.contender]]
    if case.knowledge == "peer":
        return style
    return replace(style, label=_OWN_LABELS[case.knowledge], marker=_OWN_MARKERS[case.knowledge])


def _loss(lost: float, texts: int) -> str:
    if math.isnan(lost):
        return " (cut off)"
    return f" ({lost / texts:.0%} lost)" if lost else ""
