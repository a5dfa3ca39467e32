"""What the tests of examples that draw share: one run without a key, and one with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.support.example_output import Run, output_of, run_with_key


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the module's `EXAMPLE` writes to."""
    return tmp_path_factory.mktemp(request.module.EXAMPLE)


@pytest.fixture(scope="module")
def output(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return what the module's `EXAMPLE` prints without a key."""
    return output_of(request.module.EXAMPLE, folder, environment={})


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Run, Path]]:
    """Return a function that runs an example once with a key; it returns the run and its folder."""

    @cache
    def run(example: str) -> tuple[Run, Path]:
        folder = tmp_path_factory.mktemp(example)
        return run_with_key(example, folder), folder

    return run
