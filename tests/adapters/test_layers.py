"""The modules of the adapters form layers: no module imports one that imports it."""

from __future__ import annotations

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def imported(path: Path) -> set[str]:
    """Return what a module imports, within functions and for type checkers too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def modules(package: str) -> dict[str, set[str]]:
    """Return the modules of a package, each with the modules of the package that it imports."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / package).rglob("*.py")
    }
    return {name: (imported(path) & paths.keys()) - {name} for name, path in paths.items()}


@pytest.mark.parametrize("package", ["langchain_qwen_embed", "llamaindex_qwen_embed"])
def test_no_imports_form_a_circle(package):
    graph = modules(package)

    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")
    assert sorted(order) == sorted(graph)


@pytest.mark.parametrize("package", ["langchain_qwen_embed", "llamaindex_qwen_embed"])
def test_the_wrappers_of_stores_are_below_the_embedding_objects(package):
    embedding = "embeddings" if package.startswith("langchain") else "embedding"
    above = {f"{package}.{embedding}", f"{package}.sparse_{embedding}"}
    stores = {
        name: edges
        for name, edges in modules(package).items()
        if name.startswith(f"{package}.stores.")
    }

    assert stores
    assert {name: edges & above for name, edges in stores.items() if edges & above} == {}
