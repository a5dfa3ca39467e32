"""Runs an example as a user would, and returns its output and its requests."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from qwen_embed.emulator import Emulator, RecordedRequest

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Run:
    """A run of an example against the emulator in place of the service."""

    output: str
    requests: list[RecordedRequest]

    def texts(self, text_type: str) -> list[str]:
        """Return the texts that were sent in a role, in order of arrival."""
        return texts_sent(self.requests, text_type)


def output_of(example: str, *arguments: Any, environment: Mapping[str, str] | None = None) -> str:
    """Run `main(*arguments)` of the example of that name.

    Args:
        example: Its name.
        *arguments: Its arguments, for example the folder that it writes to.
        environment: The only settings of the service; by default the existing ones.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        if environment is not None:
            for name in [name for name in os.environ if name.startswith("DASHSCOPE_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
        patch.syspath_prepend(EXAMPLES)
        runpy.run_path(str(EXAMPLES / f"{example}.py"))["main"](*arguments)
    return output.getvalue()


def run_offline(example: str, *arguments: Any) -> str:
    """Run an example without a configured service, and return its output."""
    with no_service_configured():
        return output_of(example, *arguments)


def run_with_key(
    example: str, *arguments: Any, environment: Mapping[str, str] | None = None
) -> Run:
    """Run an example with a key, and the emulator at the address in the environment."""
    with Emulator(api_key="sk-own") as service, no_service_configured() as patch:
        patch.setenv("DASHSCOPE_API_KEY", service.api_key)
        patch.setenv("DASHSCOPE_BASE_URL", service.native_url)
        for name, value in (environment or {}).items():
            patch.setenv(name, value)
        return Run(output_of(example, *arguments), service.requests)


@contextlib.contextmanager
def no_service_configured() -> Iterator[pytest.MonkeyPatch]:
    """Remove every service from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [*os.environ]:
            if name.startswith(("DASHSCOPE_", "OPENAI_", "CHAT_MODEL")):
                patch.delenv(name)
        yield patch


def texts_sent(requests: list[RecordedRequest], text_type: str) -> list[str]:
    """Return the texts that were sent in a role, in order of arrival."""
    return [
        text
        for request in requests
        if request.body["parameters"]["text_type"] == text_type
        for text in request.body["input"]["texts"]
    ]
