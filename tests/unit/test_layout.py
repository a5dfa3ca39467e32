"""What each folder and module may import, and how many of them there are."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CORE = "qwen_embed"
ADAPTERS = ("langchain_qwen_embed", "llamaindex_qwen_embed")
FRAMEWORKS = ("langchain", "langgraph", "llama_index", "llamaindex")

LEVELS: tuple[tuple[str, ...], ...] = (
    ("process", "errors", "models", "types", "tokenizer", "version"),
    ("sparse", "explain", "usage", "results"),
    ("config",),
    ("protocols", "transports", "rate_limit"),
    ("telemetry",),
    ("pipeline",),
    ("caching",),
    ("runtime",),
    ("base",),
    ("embedder",),
)
"""The parts of the core from the bottom: each imports only what is at or below its level."""
INDEPENDENT = {"protocols", "transports", "rate_limit"}
"""Parts of one level that do not import each other."""
STANDALONE = {"emulator": {"emulator", "models"}}
"""Parts outside the levels, with all that they may import of the core."""


class Import(NamedTuple):
    importer: str
    imported: str
    lazy: bool
    """Whether it runs with a function, and not when the importer is loaded or type-checked."""


def sources(package: str) -> dict[str, Path]:
    """Return a package's files by module name."""
    files = sorted((ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


MODULES = {name: path for each in (CORE, *ADAPTERS) for name, path in sources(each).items()}


def statements(
    node: ast.AST, *, lazy: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Yield import statements, each with whether it is within a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, lazy
        in_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        yield from statements(child, lazy=lazy or in_function)


def names_in(statement: ast.Import | ast.ImportFrom, modules: Mapping[str, object]) -> list[str]:
    """Return the modules that a statement imports; of `from a import b`, `a.b` if it is one."""
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    assert not statement.level, "relative imports are not used here"
    parent = statement.module or ""
    names = [f"{parent}.{alias.name}" for alias in statement.names]
    return [name if name in modules else parent for name in names]


def imports_of(module: str, source: str, modules: Mapping[str, object]) -> Iterator[Import]:
    """Yield all imports of a module, those for type checkers included."""
    for statement, lazy in statements(ast.parse(source)):
        for name in names_in(statement, modules):
            yield Import(module, name, lazy)


IMPORTS = [
    each
    for module, path in MODULES.items()
    for each in imports_of(module, path.read_text(encoding="utf-8"), MODULES)
]


def package_of(module: str) -> str:
    return module.partition(".")[0]


def part_of(module: str) -> str:
    """Return the part of the core that a module belongs to; empty for the package itself."""
    return module.removeprefix(CORE).lstrip(".").partition(".")[0]


def is_allowed(importer: str, imported: str) -> bool:
    """Return whether one module of the core may import another."""
    lower, upper = part_of(imported), part_of(importer)
    if not upper or lower == upper:
        return True
    if upper in STANDALONE:
        return lower in STANDALONE[upper]
    level = {part: number for number, parts in enumerate(LEVELS) for part in parts}
    if lower not in level or {lower, upper} <= INDEPENDENT:
        return False
    return level[lower] <= level[upper]


def cycles(imports: list[Import]) -> set[frozenset[str]]:
    """Return the groups of modules that import each other, directly or through others."""
    imported: dict[str, set[str]] = {}
    for each in imports:
        if not each.lazy:
            imported.setdefault(each.importer, set()).add(each.imported)

    def reachable(start: str) -> set[str]:
        found: set[str] = set()
        pending = [start]
        while pending:
            new = imported.get(pending.pop(), set()) - found
            found |= new
            pending.extend(new)
        return found

    below = {module: reachable(module) for module in imported}
    return {
        frozenset(other for other in below[module] if module in below.get(other, ()))
        for module in imported
        if module in below[module]
    }


def test_every_part_of_the_core_has_a_level():
    parts = {part_of(module) for module in MODULES if module.startswith(f"{CORE}.")}

    assert parts == {part for level in LEVELS for part in level} | STANDALONE.keys()


def test_each_part_of_the_core_imports_only_what_is_below_it():
    wrong = {
        (each.importer, each.imported)
        for each in IMPORTS
        if package_of(each.importer) == package_of(each.imported) == CORE
        and not is_allowed(each.importer, each.imported)
    }

    assert wrong == set()


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("qwen_embed.pipeline.plan", "qwen_embed.errors", True),
        ("qwen_embed.errors", "qwen_embed.pipeline.plan", False),
        ("qwen_embed.errors", "qwen_embed.models", True),
        ("qwen_embed.protocols.native", "qwen_embed.protocols.base", True),
        ("qwen_embed.protocols.native", "qwen_embed.transports.default", False),
        ("qwen_embed.telemetry.logs", "qwen_embed.rate_limit.limiter", True),
        ("qwen_embed.emulator.server", "qwen_embed.models", True),
        ("qwen_embed.emulator.server", "qwen_embed.errors", False),
        ("qwen_embed.base", "qwen_embed.emulator", False),
        ("qwen_embed.errors", "qwen_embed", False),
        ("qwen_embed", "qwen_embed.embedder", True),
    ],
)
def test_an_import_is_allowed_only_downwards(importer, imported, allowed):
    assert is_allowed(importer, imported) == allowed


def test_no_modules_import_each_other():
    assert cycles(IMPORTS) == set()


def test_cycles_are_found_in_imports_for_type_checkers_but_not_in_functions():
    modules = {"a": None, "b": None, "c": None, "d": None}
    source = {
        "a": "import b",
        "b": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from c import C",
        "c": "import a",
        "d": "import a\ndef f():\n    import d",
    }
    imports = [each for name in source for each in imports_of(name, source[name], modules)]

    assert cycles(imports) == {frozenset("abc")}


def test_the_core_imports_no_framework_and_no_adapter():
    forbidden = (*FRAMEWORKS, *ADAPTERS)
    imports = [each for each in IMPORTS if package_of(each.importer) == CORE]

    assert [each for each in imports if each.imported.startswith(forbidden)] == []


@pytest.mark.parametrize(
    ("adapter", "forbidden"),
    [
        ("langchain_qwen_embed", ("llama_index", "llamaindex", "aiohttp", "msgspec", "json")),
        ("llamaindex_qwen_embed", ("langchain", "langgraph", "aiohttp", "msgspec", "json")),
    ],
)
def test_an_adapter_imports_neither_the_other_nor_http_nor_json(adapter, forbidden):
    imports = [each for each in IMPORTS if package_of(each.importer) == adapter]

    assert imports
    assert [each for each in imports if each.imported.startswith(forbidden)] == []


def test_the_core_folder_has_at_most_16_entries_that_are_not_folders():
    entries = [path.name for path in (ROOT / CORE).iterdir() if not path.is_dir()]

    assert len(entries) <= 16, entries


def test_no_folder_has_more_than_12_modules():
    count: dict[str, int] = {}
    for path in MODULES.values():
        folder = path.parent.relative_to(ROOT).as_posix()
        count[folder] = count.get(folder, 0) + 1

    assert {folder: number for folder, number in count.items() if number > 12} == {}


def test_the_init_files_of_sub_packages_hold_a_docstring_only():
    faces = {CORE, *ADAPTERS, "qwen_embed.emulator"}  # public packages, which export names
    for module, path in MODULES.items():
        if path.name == "__init__.py" and module not in faces:
            body = ast.parse(path.read_text(encoding="utf-8")).body
            assert [type(node) for node in body] == [ast.Expr], module
