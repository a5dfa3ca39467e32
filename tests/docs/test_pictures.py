"""The README's picture is what its script draws, and can be read."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import FancyBboxPatch
from matplotlib.transforms import Bbox
from PIL import Image

from pictures.pipeline import HEIGHT, WIDTH, draw, main

COMMITTED = Path(__file__).parents[2] / "pictures" / "pipeline.png"


def written() -> list[tuple[str, Bbox]]:
    figure = draw()
    renderer = FigureCanvasAgg(figure).get_renderer()
    [axes] = figure.axes
    return [(text.get_text(), text.get_window_extent(renderer)) for text in axes.texts]


def boxes() -> list[Bbox]:
    figure = draw()
    FigureCanvasAgg(figure)
    [axes] = figure.axes
    return [each.get_window_extent() for each in axes.patches if isinstance(each, FancyBboxPatch)]


def test_the_script_draws_a_small_png_of_the_size_that_is_shown(tmp_path):
    main(tmp_path / "drawn.png")
    for path in (tmp_path / "drawn.png", COMMITTED):
        with Image.open(path) as image:
            assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
        assert path.stat().st_size < 90_000


def test_no_words_are_cut_off_by_the_edge_of_the_picture_or_of_a_box():
    edges = [Bbox([[0, 0], [WIDTH, HEIGHT]]), *boxes()]
    crossing = [
        text
        for text, words in written()
        for box in edges
        if box.overlaps(words) and not (box.x0 < words.x0 and words.x1 < box.x1)
    ]
    assert not crossing


def test_no_words_overlap():
    # The lines of a paragraph share the space between high letters and low ones.
    places = [(text, words.padded(0, -5)) for text, words in written()]
    overlapping = [
        (text, other)
        for (text, words), (other, others) in combinations(places, 2)
        if words.overlaps(others)
    ]
    assert not overlapping


def test_every_letter_can_be_read_at_half_the_size():
    [axes] = draw().axes
    assert min(text.get_fontsize() for text in axes.texts) >= 25
