"""All examples that draw: they run against the service, and their pictures are committed."""

from __future__ import annotations

import pytest

from tests.support.drawings import is_drawn
from tests.support.example_output import EXAMPLES

HEIGHTS = {
    "semantic_search": 960,
    "clustering": 840,
    "zero_shot_classification": 780,
    "anomaly_detection": 840,
    "choose_dimension": 750,
    "query_or_document": 900,
    "dense_sparse_hybrid": 750,
}


@pytest.mark.parametrize(("example", "height"), HEIGHTS.items())
def test_with_a_key_the_service_of_the_environment_is_called(example, height, served):
    run, folder = served(example)

    assert {request.status for request in run.requests} == {200}
    assert "emulator" not in run.output
    assert is_drawn(folder / f"{example}.png", height)


@pytest.mark.parametrize(("example", "height"), HEIGHTS.items())
def test_the_committed_picture_is_small(example, height):
    picture = EXAMPLES / "pictures" / f"{example}.png"
    assert is_drawn(picture, height)
    assert picture.stat().st_size < 80_000


def test_every_committed_picture_is_drawn_by_an_example():
    assert {picture.stem for picture in (EXAMPLES / "pictures").iterdir()} == set(HEIGHTS)
