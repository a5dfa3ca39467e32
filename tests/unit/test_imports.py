"""What an import of each package loads, and what it works without."""

from __future__ import annotations

import subprocess
import sys

import pytest


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


def test_a_call_does_not_import_opentelemetry_by_itself():
    run(
        "import sys\n"
        "from qwen_embed import QwenEmbedder\n"
        "from qwen_embed.emulator import Emulator\n"
        "with Emulator(api_key='sk-1') as service:\n"
        "    with QwenEmbedder(api_key='sk-1', base_url=service.native_url) as embedder:\n"
        "        embedder.embed_query('a')\n"
        "assert 'opentelemetry' not in sys.modules\n"
    )


def test_a_call_works_if_opentelemetry_is_imported_without_a_provider():
    run(
        "import opentelemetry.trace\n"
        "from qwen_embed import QwenEmbedder\n"
        "from qwen_embed.emulator import Emulator\n"
        "with Emulator(api_key='sk-1') as service:\n"
        "    with QwenEmbedder(api_key='sk-1', base_url=service.native_url) as embedder:\n"
        "        assert embedder.embed_query('a').dense.shape == (1, 1024)\n"
    )
