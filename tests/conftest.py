"""What all tests share: no settings from outside, the emulator, and the faces of the core."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from qwen_embed.emulator import Emulator
from qwen_embed.pipeline.retry import RetryPolicy
from qwen_embed.runtime import event_loop
from tests.support.faces import API_KEY, FACES, Face


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DASHSCOPE_"):
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def no_account_is_known() -> None:
    """Forget what earlier tests learnt: an emulator may listen on the port of one before it."""
    if running := event_loop.started():
        running.shared.clear()


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let repeats leave at once."""
    wait = RetryPolicy.wait
    monkeypatch.setattr(RetryPolicy, "wait", lambda *args: None if wait(*args) is None else 0.001)


@pytest.fixture
def service() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY) as service:
        yield service


@pytest.fixture(params=FACES, ids=lambda face: face.name)
def face(request: pytest.FixtureRequest) -> Face:
    return request.param
