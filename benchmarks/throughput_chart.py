"""The chart of throughput against latency."""

from __future__ import annotations

import math
from pathlib import Path

import rounds
from charts import STYLES, apart, blank, label, save
from matplotlib.ticker import FuncFormatter, NullFormatter, NullLocator


def draw(measured: dict[float, list[rounds.Round]], path: Path) -> None:
    """Draw texts per second by the latency of the service."""
    figure, axes = blank(
        "Texts per second, by the service's latency",
        "one call; 32 requests in flight, except DashScopeEmbeddings: one by one",
    )
    latencies = sorted(measured)
    milliseconds = [latency * 1000 for latency in latencies]
    drawn = [each for each in STYLES if all(each in rounds_[0] for rounds_ in measured.values())]
    ends = []
    for contender in drawn:
        style = STYLES[contender]
        rates = [rounds.middle(measured[each], contender, rounds.rate) for each in latencies]
        axes.plot(
            milliseconds,
            rates,
            color=style.colour,
            marker=style.marker,
            linewidth=3 if style.own else 1.5,
            linestyle=style.dashes,
            zorder=2 if style.own else 3,
        )
        ends.append(rates[-1])
    places = apart([math.log10(rate) for rate in ends], gap=0.17)
    for contender, rate, place in zip(drawn, ends, places, strict=True):
        style = STYLES[contender]
        label(
            axes, style.label, style, (milliseconds[-1], rate), (milliseconds[-1] * 1.3, 10**place)
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(milliseconds)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g} ms"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y", color="#DDDDDD")
    save(figure, path)
