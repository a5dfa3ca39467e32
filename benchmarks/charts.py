"""The look of the charts: legible at a width of 800 pixels, and by colour-blind readers.

Colours are those of Okabe and Ito; every line and point has its own label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

from contenders import (
    BASELINE,
    DASHSCOPE,
    OPENAI,
    OPENAI_LIKE,
    RUST_ARRAY,
    SDK_THREADS,
    SYNC,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

Point: TypeAlias = tuple[float, float]

GREY = "#6E6E6E"
_INCHES = (8.0, 4.5)
_DOTS_PER_INCH = 200


@dataclass(frozen=True)
class Style:
    """How a contender is drawn.

    Attributes:
        label: Its label.
        colour: Its colour.
        marker: Its shape.
        own: Whether it is this package.
        dashes: The style of its line.
    """

    label: str
    colour: str
    marker: str
    own: bool = False
    dashes: str = "-"


STYLES = {
    BASELINE: Style("baseline: nothing checked", GREY, "", dashes="--"),
    RUST_ARRAY: Style("Rust client", "#B87A00", "^"),
    SYNC: Style("this package", "#0072B2", "o", own=True),
    OPENAI: Style("OpenAIEmbeddings", "#B3598E", "D"),
    OPENAI_LIKE: Style("OpenAILikeEmbedding", "#3A8FC0", "P"),
    SDK_THREADS: Style("dashscope Client", "#00845F", "s"),
    DASHSCOPE: Style("DashScopeEmbeddings", "#D55E00", "v"),
}


def blank(title: str, note: str) -> tuple[Figure, Axes]:
    """Return a figure and its axes, under a title and a note."""
    figure = Figure(_INCHES, layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{title}\n", loc="left", fontsize=13, fontweight="bold")
    axes.text(0, 1.025, note, transform=axes.transAxes, color=GREY, fontsize=11)
    axes.tick_params(labelsize=11)
    return figure, axes


def save(figure: Figure, path: Path) -> None:
    """Write a chart, with a palette, as it has few colours."""
    figure.savefig(path, dpi=_DOTS_PER_INCH)
    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(48)
    reduced.save(path, optimize=True)


def apart(values: Sequence[float], gap: float) -> list[float]:
    """Return values moved until they are a gap apart, in the same order of size."""
    order = sorted(range(len(values)), key=values.__getitem__)
    moved = list(values)
    for _ in range(100):
        for low, high in pairwise(order):
            lacking = max(0.0, gap - (moved[high] - moved[low]))
            moved[low] -= lacking / 2
            moved[high] += lacking / 2
    return moved


def label(axes: Axes, text: str, style: Style, point: Point, place: Point) -> None:
    """Write a label beside a point, with a line between them."""
    axes.annotate(
        text,
        point,
        xytext=place,
        color=style.colour,
        fontsize=11,
        fontweight="bold" if style.own else "normal",
        verticalalignment="center",
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-",
            "color": style.colour,
            "linewidth": 0.7,
            "relpos": (0, 0.5),
            "shrinkA": 2,
            "shrinkB": 6,
        },
    )
