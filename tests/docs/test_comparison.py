"""The table of docs/comparison.md says what each client of these models does."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from benchmarks.clients import PEERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
[MARKED] = re.findall("<!-- comparison: begin -->(.*?)<!-- comparison: end -->", PAGE, re.DOTALL)
RELEASES = dict(re.findall(r"([a-z][a-z-]+) (\d[\d.]*\d)", MARKED))
THEIR_MODULES = [
    "dashscope",
    "langchain_community",
    "langchain_openai",
    "llama_index.embeddings.dashscope",
    "llama_index.embeddings.openai_like",
]


def columns(text):
    """Return the columns of a Markdown table by their names, each as its cells by row."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    names, _, *rows = lines  # the first cell is empty, and stripped with the bars
    return {name: {row[0]: row[place] for row in rows} for place, name in enumerate(names, start=1)}


STATED = columns(MARKED)
OURS = [name for name in STATED if name not in {peer.name for peer in PEERS}]


def found_by(*options):
    """Return the table that the script prints, in its own process: some clients set globals."""
    script = [sys.executable, "benchmarks/comparison.py", *options]
    printed = subprocess.run(script, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return columns(printed.stdout)


def test_we_do_what_the_comparison_says():
    assert found_by("--ours") == {name: STATED[name] for name in OURS}


@pytest.mark.upstream
def test_the_others_do_what_the_comparison_says_of_these_releases():
    for module in THEIR_MODULES:
        pytest.importorskip(module)
    found = found_by()

    assert list(found) == list(STATED)
    for peer in PEERS:
        installed = {package: version(package) for package in peer.packages}
        if installed == {package: RELEASES[package] for package in peer.packages}:
            assert found[peer.name] == STATED[peer.name], peer.name
