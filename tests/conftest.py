"""Fixtures of all tests: a clean environment, the emulator, and the interfaces of the core."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from qwen_embed.emulator import Emulator
from qwen_embed.pipeline.retry import RetryPolicy
from qwen_embed.runtime import event_loop
from tests.support.interfaces import API_KEY, INTERFACES, Interface


@pytest.fixture(autouse=True)
def no_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DASHSCOPE_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_account_is_remembered() -> None:
    """Forget the accounts of earlier tests: an emulator may reuse the port of another one."""
    if running := event_loop.started():
        running.shared.clear()


@pytest.fixture
def instant_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Send retries at once."""
    wait = RetryPolicy.wait
    monkeypatch.setattr(RetryPolicy, "wait", lambda *args: None if wait(*args) is None else 0.001)


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY) as service:
        yield service


@pytest.fixture(params=INTERFACES, ids=lambda interface: interface.name)
def interface(request: pytest.FixtureRequest) -> Interface:
    return request.param
