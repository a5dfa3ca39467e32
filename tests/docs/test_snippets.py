"""Every Python snippet of the documentation runs, and prints what the block behind it says."""

from __future__ import annotations

import contextlib
import io
import logging
import re
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

from qwen_embed.emulator import Emulator
from tests.support.pages import PAGES, name_of

# On the pages on migrating a diff follows each program; tests/features/test_migrating.py runs them.
_SNIPPET = re.compile(
    r"^```python\n((?:(?!```).)*)^```$(?!\n\n```diff)(?:\n\n```text\n(.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
SNIPPETS = [
    pytest.param(match[1], match[2] or "", id=f"{name_of(page)}-{place}")
    for page in PAGES
    for place, match in enumerate(_SNIPPET.finditer(page.read_text(encoding="utf-8")))
]


@pytest.fixture
def environment(service: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_API_KEY", service.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", service.native_url)
    # A provider of spans is set once in a process, and would stay for all other tests.
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    logger = logging.getLogger("qwen_embed")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.mark.parametrize(("snippet", "output"), SNIPPETS)
def test_a_snippet_prints_what_it_says(environment, service, monkeypatch, snippet, output):
    names = {
        "__name__": "snippet",
        "NATIVE_URL": service.native_url,
        "COMPATIBLE_URL": service.openai_url,
    }
    printed = io.StringIO()

    with contextlib.redirect_stdout(printed):
        exec(compile(snippet, "snippet", "exec"), names)  # noqa: S102 -- our own pages
        for name, found in list(names.items()):
            if name.startswith("test_"):
                found(monkeypatch)

    assert printed.getvalue() == output
