"""Measures the import time of an adapter, relative to the framework class that it extends."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

TARGET = 1.25
"""Maximum import time of an adapter, as a multiple of the framework's own."""
LEAST_RUNS = 11


@dataclass(frozen=True)
class Adapter:
    """An adapter, and the import that it is compared with.

    Attributes:
        base: The import that every adapter for the framework needs.
        own: The import of the adapter.
        unwanted: Modules that importing the adapter must not load.
    """

    base: str
    own: str
    unwanted: frozenset[str]


ADAPTERS = [
    Adapter(
        base="import langchain_core.embeddings",
        own="import langchain_qwen_embed",
        unwanted=frozenset({"aiohttp", "dashscope", "openai"}),
    ),
    # Both packages load next to nothing until a name is used: this is the cost of a program.
    Adapter(
        base="from langchain_core.embeddings import Embeddings",
        own="from langchain_qwen_embed import QwenEmbeddings",
        unwanted=frozenset({"aiohttp", "dashscope", "openai"}),
    ),
    Adapter(
        base="from llama_index.core.base.embeddings.base import BaseEmbedding",
        own="import llamaindex_qwen_embed",
        unwanted=frozenset({"dashscope", "openai"}),  # LlamaIndex itself loads aiohttp
    ),
]


def run_python(code: str, env: Mapping[str, str]) -> str:
    """Run code in a new process and return what it prints."""
    return subprocess.run(
        [sys.executable, "-c", code], env=env, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def milliseconds(statement: str, env: Mapping[str, str]) -> float:
    """Return the wall time of a whole process that does nothing but import."""
    start = time.perf_counter()
    run_python(statement, env)
    return (time.perf_counter() - start) * 1000


def loaded_unwanted(adapter: Adapter, env: Mapping[str, str]) -> frozenset[str]:
    """Return the unwanted modules that importing the adapter loads."""
    modules = run_python(f"{adapter.own}\nimport sys\nprint(*sys.modules)", env).split()
    return adapter.unwanted.intersection(modules)


def run_rounds(env: Mapping[str, str], runs: int) -> list[dict[str, float]]:
    """Time every import once a round, so that a slow second of the machine affects all."""
    statements = [statement for each in ADAPTERS for statement in (each.base, each.own)]
    for statement in statements:
        run_python(statement, env)  # compiles, and warms the file cache
    return [
        {statement: milliseconds(statement, env) for statement in statements} for _ in range(runs)
    ]


def print_times(adapter: Adapter, rounds: list[dict[str, float]]) -> None:
    """Print both medians and the median of the rounds' ratios."""
    for statement in (adapter.base, adapter.own):
        print(f"{statement:64}{median(each[statement] for each in rounds):8.0f} ms")
    ratio = median(each[adapter.own] / each[adapter.base] for each in rounds)
    print(f"{'':64}{ratio:8.2f} times; target {TARGET}: {'met' if ratio <= TARGET else 'MISSED'}")


def main() -> None:
    """Time the imports and check what they load; exit with 1 if they load what they must not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15, help=f"{LEAST_RUNS} or more (%(default)s)")
    runs = parser.parse_args().runs
    if runs < LEAST_RUNS:
        parser.error(f"--runs must be {LEAST_RUNS} or more.")
    with tempfile.TemporaryDirectory() as cache:
        # Everything from byte code, even if the environment forbids writing it.
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}
        rounds = run_rounds(env, runs)
        unwanted = {each.own: loaded_unwanted(each, env) for each in ADAPTERS}
    print(f"Whole processes, medians of {runs} interleaved runs\n")
    for adapter in ADAPTERS:
        print_times(adapter, rounds)
    for statement, loaded in unwanted.items():
        print(f"{statement} loads {', '.join(sorted(loaded)) or 'nothing that it must not'}.")
    if any(unwanted.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
