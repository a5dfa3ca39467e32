"""Every snippet of the README and every example in a docstring is run, and prints what it says."""

from __future__ import annotations

import contextlib
import doctest
import importlib
import io
import pkgutil
import re
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

import langchain_qwen_embed
import llamaindex_qwen_embed
import qwen_embed
from qwen_embed.config.settings import ALIASES, EmbeddingSettings
from qwen_embed.emulator import Emulator
from qwen_embed.models import MODELS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", README, re.DOTALL)

MODULES = [
    module.name
    for package in (qwen_embed, langchain_qwen_embed, llamaindex_qwen_embed)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    # Those of a store need the store, and are run where it is.
    if not module.name.endswith(("__main__", ".chroma", ".milvus"))
]


@pytest.fixture
def environment(service: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASHSCOPE_API_KEY", service.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", service.native_url)
    # A provider of spans is set once in a process, and would stay for all other tests.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())


@pytest.mark.parametrize(
    ("snippet", "output"), SNIPPETS, ids=[f"snippet-{n}" for n in range(len(SNIPPETS))]
)
def test_a_snippet_of_the_readme_prints_what_it_says(
    environment, monkeypatch, tmp_path, snippet, output
):
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        exec(compile(snippet, "README.md", "exec"), {"__name__": "readme"})  # noqa: S102

    assert printed.getvalue() == output


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_in_docstrings_are_true(name):
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert failed == 0


def test_the_readme_lists_every_option_with_its_names_and_default():
    rows = dict(re.findall(r"^\| `(\w+)`(.*?)$", README.split("## Settings")[1], re.MULTILINE))
    for name, field in EmbeddingSettings.model_fields.items():
        assert name in rows, name
        if field.default is not None and name != "model":
            assert f"`{field.default!s}`" in rows[name].replace('"', ""), name
        for alias, option in ALIASES.items():
            assert option != name or f"[`{alias}`]" in rows[name], alias


def test_every_promise_of_the_readme_has_its_test():
    promised = re.findall(r"\]\((tests/[\w/]+\.py)(?:#(\w+))?\)", README)

    assert len(promised) >= 10
    for path, name in promised:
        tests = (ROOT / path).read_text(encoding="utf-8")
        assert not name or f"def {name}(" in tests, name


def test_the_readme_knows_every_model_of_the_table():
    assert [name for name in MODELS if f"`{name}`" not in README] == []


def test_the_readme_names_every_error_that_users_see():
    errors = {name for name in qwen_embed.__all__ if name.endswith("Error")} - {"BatchSizeError"}

    assert sorted(name for name in errors if f"`{name}`" not in README) == []
