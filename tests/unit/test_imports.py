"""What importing costs in modules, and which way imports run."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("package", "heavy"),
    [
        (
            "qwen_embed",
            ["numpy", "aiohttp", "msgspec", "asyncio", "tqdm", "sqlite3", "langchain_core"],
        ),
        ("langchain_qwen_embed.embeddings", ["numpy", "aiohttp", "msgspec", "dashscope", "openai"]),
        ("llamaindex_qwen_embed", ["msgspec", "dashscope", "openai", "langchain_core"]),
    ],
)
def test_importing_loads_nothing_heavy(package, heavy):
    run(
        f"import sys, {package}\n"
        f"loaded = [name for name in {heavy!r} if name in sys.modules]\n"
        f"assert not loaded, loaded"
    )


def test_the_core_and_the_emulator_work_with_neither_framework_installed():
    run(
        "import sys\n"
        "class NotInstalled:\n"
        "    def find_spec(self, name, *args):\n"
        "        if name.split('.')[0] in (\n"
        "            'langchain_core', 'llama_index', 'dashscope', 'opentelemetry'\n"
        "        ):\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, NotInstalled())\n"
        "from qwen_embed import QwenEmbedder\n"
        "from qwen_embed.emulator import Emulator\n"
        "with Emulator(api_key='sk-1') as service:\n"
        "    with QwenEmbedder(api_key='sk-1', base_url=service.native_url) as embedder:\n"
        "        assert embedder.embed_query('a').dense.shape == (1, 1024)\n"
    )


def test_a_call_loads_no_opentelemetry_where_nobody_did():
    run(
        "import sys\n"
        "from qwen_embed import QwenEmbedder\n"
        "from qwen_embed.emulator import Emulator\n"
        "with Emulator(api_key='sk-1') as service:\n"
        "    with QwenEmbedder(api_key='sk-1', base_url=service.native_url) as embedder:\n"
        "        embedder.embed_query('a')\n"
        "assert 'opentelemetry' not in sys.modules\n"
    )


def test_a_call_works_where_opentelemetry_is_loaded_and_no_provider_is_set():
    run(
        "import opentelemetry.trace\n"
        "from qwen_embed import QwenEmbedder\n"
        "from qwen_embed.emulator import Emulator\n"
        "with Emulator(api_key='sk-1') as service:\n"
        "    with QwenEmbedder(api_key='sk-1', base_url=service.native_url) as embedder:\n"
        "        assert embedder.embed_query('a').dense.shape == (1, 1024)\n"
    )


def imported_names(package: str) -> Iterator[str]:
    """Yield every module that a package's files import, at the top or within a function."""
    for path in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                yield node.module or ""


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("qwen_embed", ("langchain", "llama_index", "llamaindex")),
        ("langchain_qwen_embed", ("llama_index", "llamaindex", "aiohttp", "msgspec", "json")),
        ("llamaindex_qwen_embed", ("langchain", "aiohttp", "msgspec", "json")),
    ],
)
def test_arrows_run_one_way(package, forbidden):
    names = list(imported_names(package))

    assert names
    assert [name for name in names if name.startswith(forbidden)] == []


def test_the_emulator_knows_nothing_of_the_client_but_the_table_of_models():
    ours = {name for name in imported_names("qwen_embed/emulator") if "qwen_embed" in name}

    assert {name for name in ours if not name.startswith("qwen_embed.emulator")} == {
        "qwen_embed.models"
    }
