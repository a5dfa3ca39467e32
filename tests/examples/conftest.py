"""What the tests of examples that draw share: one run for each of their modules."""

from __future__ import annotations

from pathlib import Path

import pytest
from example_output import output_of


@pytest.fixture(scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where the module's `EXAMPLE` writes."""
    return tmp_path_factory.mktemp(request.module.EXAMPLE)


@pytest.fixture(scope="module")
def output(request: pytest.FixtureRequest, folder: Path) -> str:
    """Return what the module's `EXAMPLE` prints without a key."""
    return output_of(request.module.EXAMPLE, folder, environment={})
