"""Runs an example as a user would, and returns what it prints."""

from __future__ import annotations

import contextlib
import io
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def output_of(example: str, folder: Path) -> str:
    """Run `main(folder)` of the example of that name."""
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        patch.syspath_prepend(EXAMPLES)
        runpy.run_path(str(EXAMPLES / f"{example}.py"))["main"](folder)
    return output.getvalue()
