"""Draws the README's picture: the path from texts to vectors.

    python pictures/pipeline.py

All lengths are in pixels of the whole picture, from its upper left corner. GitHub shows it at half
that size, so no text is smaller than `_SMALL`. Colours are those of Okabe and Ito, and no
information depends on colour alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Polygon, Rectangle
from PIL import Image

Point: TypeAlias = tuple[float, float]

WIDTH, HEIGHT = 1600, 640

_INK, _GREY, _PAPER, _TINT = "#1F2328", "#6E7781", "#FFFFFF", "#F1F5F9"
_BLUE, _GREEN, _RED = "#0072B2", "#009E73", "#D55E00"
_SMALL, _MIDDLE, _LARGE = 25, 29, 34
_LINE = 31
_ROUND, _HEAD = 12, 15

_MARGIN, _SIDE = 16, 222
_FRAME = (258, 156, 1342, 624)
_FIRST, _STAGE, _GAP = 280, 188, 25
_TOP, _BOTTOM = 226, 398
_SIDES_BOTTOM = 478

_STAGES = (
    ("Check", ("validate and", "deduplicate", "texts")),
    ("Cache", ("optional:", "vectors", "from disk")),
    ("Batch", ("as large as", "the model", "allows")),
    ("Pace", ("concurrent,", "within your", "quota")),
    ("Verify", ("count, order,", "dimension", "and values")),
)


def draw() -> Figure:
    """Return the picture."""
    figure = Figure((WIDTH / 72, HEIGHT / 72), dpi=72, facecolor=_PAPER)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(HEIGHT, 0))
    axes.axis("off")
    left, top, right, bottom = _FRAME
    _box(axes, left, top, right, bottom, fill=_TINT, edge=_TINT)
    _text(axes, (_FIRST, 192), "qwen-embed", size=_LARGE, bold=True, align="left")
    for number, (title, lines) in enumerate(_STAGES, 1):
        _stage(axes, number, title, lines)
    _flow(axes)
    _service(axes)
    _returns(axes)
    _texts(axes)
    _vectors(axes)
    return figure


def main(path: Path) -> None:
    """Write the picture as a PNG with a palette, as it has few colours."""
    draw().savefig(path, dpi=72)
    with Image.open(path) as image:
        reduced = image.convert("RGB").quantize(64)
    reduced.save(path, optimize=True)


def _left(number: int) -> float:
    return _FIRST + (number - 1) * (_STAGE + _GAP)


def _centre(number: int) -> float:
    return _left(number) + _STAGE / 2


def _stage(axes: Axes, number: int, title: str, lines: Sequence[str]) -> None:
    left = _left(number)
    _box(axes, left, _TOP, left + _STAGE, _BOTTOM, edge=_BLUE)
    axes.add_patch(Circle((left + 30, _TOP + 34), 19, facecolor=_BLUE, edgecolor="none"))
    _text(axes, (left + 30, _TOP + 34), str(number), colour=_PAPER, bold=True)
    _text(axes, (left + 60, _TOP + 34), title, size=_MIDDLE, bold=True, align="left")
    _lines(axes, (_centre(number), _TOP + 81), lines)


def _flow(axes: Axes) -> None:
    """The path of every text."""
    middle = (_TOP + _BOTTOM) / 2
    _arrow(axes, [(_MARGIN + _SIDE, middle), (_FIRST, middle)], _BLUE)
    for number in range(1, 4):
        right = _left(number) + _STAGE
        _arrow(axes, [(right, middle), (right + _GAP, middle)], _BLUE)
    _arrow(axes, [(_left(5) + _STAGE, middle), (WIDTH - _MARGIN - _SIDE, middle)], _BLUE)


def _service(axes: Axes) -> None:
    """The service, and how requests are sent to it."""
    left, right, bottom = _left(4) - 16, _left(5) + _STAGE + 16, 98
    _box(axes, left, 14, right, bottom, edge=_GREY)
    middle = (left + right) / 2
    _text(axes, (middle, 38), "Qwen service", size=_MIDDLE, bold=True)
    _text(axes, (middle, 73), "or a self-hosted server")
    _arrow(axes, [(_centre(4), _TOP), (_centre(4), bottom)], _BLUE)
    _arrow(axes, [(_centre(5), bottom), (_centre(5), _TOP)], _BLUE)
    _text(axes, (_centre(4) - 16, 126), "built-in, dashscope or openai client", align="right")
    _text(axes, (_centre(4) - 16, 192), "native or OpenAI protocol", align="right")
    _text(axes, (_centre(5) + 16, 126), "dense + sparse", align="left")


def _returns(axes: Axes) -> None:
    """The paths of failed requests, of rejected texts, and of cached vectors."""
    pace, batch, cache = _left(4) + 24, _centre(3), _centre(2)
    first, second = _centre(5) + 20, _centre(5) + 62
    _arrow(axes, [(first, _BOTTOM), (first, 484), (pace, 484), (pace, _BOTTOM)], _RED)
    _lines(axes, ((pace + first) / 2, 424), ("a throttled or failed", "request is retried"))
    _arrow(axes, [(second, _BOTTOM), (second, 542), (batch, 542), (batch, _BOTTOM)], _RED)
    _text(axes, ((batch + second) / 2, 516), "a rejected text is found by bisection")
    vectors = WIDTH - _MARGIN - _SIDE / 2
    known = [(cache, _BOTTOM), (cache, 600), (vectors, 600), (vectors, _SIDES_BOTTOM)]
    _arrow(axes, known, _GREEN, dashes="--")
    _text(axes, ((batch + second) / 2, 574), "cached vectors are not requested again")


def _texts(axes: Axes) -> None:
    left = _side(axes, _MARGIN, "Texts", ("LangChain", "LlamaIndex", "plain Python"))
    for place in range(2):
        _page(axes, left + 13 + 10 * place, 230 + 8 * place)
    _text(axes, (left + 69, 254), "documents", align="left")
    _text(axes, (left + 35, 319), "?", size=44, colour=_BLUE, bold=True)
    _text(axes, (left + 69, 319), "queries", align="left")


def _page(axes: Axes, left: float, top: float) -> None:
    axes.add_patch(Rectangle((left, top), 34, 42, facecolor=_PAPER, edgecolor=_BLUE, linewidth=2))
    for line in range(3):
        height = top + 9 + 10 * line
        axes.add_patch(Rectangle((left + 7, height), 20, 2.5, facecolor=_BLUE, edgecolor="none"))


def _vectors(axes: Axes) -> None:
    lines = ("in input order", "lists or", "float32 arrays")
    left = _side(axes, WIDTH - _MARGIN - _SIDE, "Vectors", lines)
    _cells(axes, left + 22, 230, filled=range(15))
    _text(axes, (left + 112, 254), "dense", align="left")
    _cells(axes, left + 22, 295, filled=(1, 5, 8, 12))
    _text(axes, (left + 112, 319), "sparse", align="left")


def _side(axes: Axes, left: float, title: str, lines: Sequence[str]) -> float:
    """Draw the box at one end of the picture, and return its left edge."""
    middle = left + _SIDE / 2
    _box(axes, left, _FRAME[1], left + _SIDE, _SIDES_BOTTOM, edge=_GREY)
    _text(axes, (middle, 192), title, size=_LARGE, bold=True)
    _lines(axes, (middle, 376), lines)
    return left


def _cells(axes: Axes, left: float, top: float, filled: Sequence[int]) -> None:
    for cell in range(15):
        row, column = divmod(cell, 5)
        axes.add_patch(
            Rectangle(
                (left + 15 * column, top + 16 * row),
                13,
                14,
                facecolor=_BLUE if cell in filled else "#D6DEE6",
                edgecolor="none",
            )
        )


def _box(
    axes: Axes,
    left: float,
    top: float,
    right: float,
    bottom: float,
    *,
    edge: str,
    fill: str = _PAPER,
) -> None:
    style = f"round,pad=0,rounding_size={_ROUND}"
    axes.add_patch(
        FancyBboxPatch(
            (left, top),
            right - left,
            bottom - top,
            boxstyle=style,
            facecolor=fill,
            edgecolor=edge,
            linewidth=2.5,
        )
    )


def _arrow(axes: Axes, points: Sequence[Point], colour: str, dashes: str = "-") -> None:
    """Draw an arrow along horizontal and vertical lines."""
    *before, (from_x, from_y), (to_x, to_y) = points
    length = abs(to_x - from_x) + abs(to_y - from_y)
    along_x, along_y = (to_x - from_x) / length, (to_y - from_y) / length
    neck_x, neck_y = to_x - _HEAD * along_x, to_y - _HEAD * along_y
    axes.plot(
        *zip(*before, (from_x, from_y), (neck_x, neck_y), strict=True),
        color=colour,
        linestyle=dashes,
        linewidth=3,
        solid_capstyle="butt",
    )
    half = _HEAD * 0.6
    corners = [
        (to_x, to_y),
        (neck_x - half * along_y, neck_y + half * along_x),
        (neck_x + half * along_y, neck_y - half * along_x),
    ]
    axes.add_patch(Polygon(corners, facecolor=colour, edgecolor="none", zorder=2))


def _lines(axes: Axes, first: Point, lines: Sequence[str]) -> None:
    for number, line in enumerate(lines):
        _text(axes, (first[0], first[1] + _LINE * number), line)


def _text(
    axes: Axes,
    at: Point,
    text: str,
    *,
    size: float = _SMALL,
    colour: str = _INK,
    bold: bool = False,
    align: str = "center",
) -> None:
    axes.text(
        *at,
        text,
        fontsize=size,
        color=colour,
        fontweight="bold" if bold else "normal",
        horizontalalignment=align,
        verticalalignment="center_baseline",
    )


if __name__ == "__main__":
    main(Path(__file__).with_suffix(".png"))
