"""Checks the pictures of examples."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def is_drawn(picture: Path, height: int) -> bool:
    """Return whether a file is a picture of this height, 1,200 pixels wide, with more than text."""
    with Image.open(picture) as image:
        colours = image.convert("RGB").getcolors(1 << 20) or []
        pixels = image.width * image.height
    used = sorted((count for count, _ in colours), reverse=True)
    return image.size == (1200, height) and len(used) > 16 and used[0] < 0.97 * pixels
