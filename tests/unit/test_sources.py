"""Calls and imports that the packages' sources never contain."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for package in ("qwen_embed", "langchain_qwen_embed", "llamaindex_qwen_embed")
    for path in (ROOT / package).rglob("*.py")
)

RUNS_WHAT_IT_READS = {"dill", "joblib", "marshal", "pickle", "shelve", "subprocess", "yaml"}
BUILTINS = {"__import__", "compile", "eval", "exec"}
OF_OS = {"popen", "system"}


def names_of(path):
    """Yield the names that a source imports, calls and accesses."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield f".{node.attr}"


def keywords_of(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            yield node.arg, node.value.value


def of(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=of)
def test_no_content_of_files_or_responses_is_executed(path):
    never = RUNS_WHAT_IT_READS | BUILTINS | {f".{name}" for name in OF_OS}

    assert never & set(names_of(path)) == set()
    assert {("allow_pickle", True), ("shell", True)} & set(keywords_of(path)) == set()


@pytest.mark.parametrize("path", SOURCES, ids=of)
def test_certificates_are_always_verified(path):
    off = {".CERT_NONE", ".check_hostname", "._create_unverified_context", ".verify_mode"}

    assert off & set(names_of(path)) == set()
    assert {("ssl", False), ("verify", False), ("verify_ssl", False)} & set(
        keywords_of(path)
    ) == set()
