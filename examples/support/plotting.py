"""The look of the examples' pictures: legible 800 pixels wide, in colour-blind-safe colours.

The colours are those of Okabe and Ito. Labels are in English, because not every machine has a font
with Chinese characters.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from numpy.typing import NDArray
from PIL import Image

BLUE, ORANGE, GREEN, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
GREY = "#5E5E5E"

# Positions of a label relative to its point: offset in points of 1/72 inch, and alignment.
_BESIDE = [((7, 0), "left", "center"), ((-7, 0), "right", "center")]
_ABOVE = [
    ((x, y), "center", side) for x in (0, 25, -25) for y, side in ((7, "bottom"), (-7, "top"))
]


def picture(title: str, note: str, height: float = 4.5) -> tuple[Figure, Axes]:
    """Return a figure and its axes, under a title and with a note below."""
    figure = Figure((8.0, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=14, fontweight="bold")
    figure.supxlabel(note, x=0.01, ha="left", fontsize=10, color=GREY)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=11)
    return figure, axes


def legend(axes: Axes) -> None:
    """Put the legend above the axes, where it covers nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=3,
        fontsize=11,
        frameon=False,
        handletextpad=0.4,
    )


def label(axes: Axes, points: NDArray[Any], names: Sequence[str]) -> None:
    """Label points, shape `(n, 2)`, each where the label overlaps the others least."""
    axes.figure.draw_without_rendering()
    taken = [Bbox.from_bounds(x - 7, y - 7, 14, 14) for x, y in axes.transData.transform(points)]
    for point, name in zip(points, names, strict=True):
        text = axes.annotate(name, point, (0, 0), textcoords="offset points", fontsize=11)

        def covered(place: tuple[Any, str, str], text: Any = text) -> float:
            offset, horizontal, vertical = place
            text.set(position=offset, ha=horizontal, va=vertical)
            box = text.get_window_extent()
            return sum(_area(Bbox.intersection(box, other)) for other in taken)

        covered(min([*_BESIDE, *_ABOVE], key=covered))
        taken.append(text.get_window_extent())


def _area(box: Bbox | None) -> float:
    return float(np.prod(box.size)) if box else 0.0


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a picture, 1,200 pixels wide, with a palette, as it has few colours."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path, dpi=150)
    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(96, method=Image.Quantize.MAXCOVERAGE)
    reduced.save(path, optimize=True)
    print(f"\nThe picture is {path.name} in {folder}.")
