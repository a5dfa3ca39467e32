"""What all fuzzers share."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from qwen_embed.pipeline import retry

_PROFILE = settings(
    database=None,  # so that a seed says all
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile("short", _PROFILE, derandomize=True, max_examples=60)
settings.register_profile("long", _PROFILE, max_examples=200)
settings.load_profile("short")  # `--hypothesis-profile=long` is loaded after it


@pytest.fixture(autouse=True, scope="session")
def retries_do_not_wait() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retry, "_FIRST_WAIT", 0.001)
        yield


@pytest.fixture
def threads_switch_often() -> Iterator[None]:
    """Let threads meet at more places than they would by themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)
