"""Runs an example as a user would, returns what it prints, and looks at what it draws."""

from __future__ import annotations

import contextlib
import io
import os
import runpy
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

EXAMPLES = Path(__file__).parents[1] / "examples"


def output_of(example: str, folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run `main(folder)` of the example of that name.

    Args:
        example: Its name.
        folder: Where it may write.
        environment: The only settings of the service; those that are there where none are given.
    """
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as output:
        if environment is not None:
            for name in [name for name in os.environ if name.startswith("DASHSCOPE_")]:
                patch.delenv(name)
            for name, value in environment.items():
                patch.setenv(name, value)
        patch.syspath_prepend(EXAMPLES)
        runpy.run_path(str(EXAMPLES / f"{example}.py"))["main"](folder)
    return output.getvalue()


def is_drawn(picture: Path, height: int) -> bool:
    """Say whether a file is a picture 1,200 pixels wide and so high, with more on it than text."""
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(1 << 20) or []
        pixels = image.width * image.height
    used = sorted((count for count, _ in colours), reverse=True)
    return image.size == (1200, height) and len(used) > 16 and used[0] < 0.97 * pixels
