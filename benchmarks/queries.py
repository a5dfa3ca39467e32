"""The overhead of `embed_query` over a bare aiohttp call, in interleaved calls without latency."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

import aiohttp
from contenders.baseline import ask
from contenders.ours import settings
from stub import DIMENSION, Stub

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding

BARE = "bare aiohttp + orjson"
SYNC = "LangChain embed_query"
AEMBED = "LangChain aembed_query"
LLAMAINDEX = "LlamaIndex get_query_embedding"
ALLAMAINDEX = "LlamaIndex aget_query_embedding"

_WARM_UP = 20

Query = Callable[[], Awaitable[list[float]]]


@dataclass(frozen=True)
class Latency:
    """Milliseconds of single calls.

    Attributes:
        p50: The median.
        p99: The 99th percentile.
    """

    p50: float
    p99: float


def run_rounds(*, calls: int, rounds: int) -> list[dict[str, Latency]]:
    """Time single queries through each interface in turn, `calls` of each per round."""
    with Stub(latency=0) as stub:
        return [asyncio.run(_time_all(stub.root, calls)) for _ in range(rounds)]


async def _time_all(root: str, calls: int) -> dict[str, Latency]:
    with ExitStack() as stack:
        langchain = stack.enter_context(QwenEmbeddings(**settings(root)))
        llamaindex = stack.enter_context(QwenEmbedding(**settings(root)))
        text = "Who has seen the wind?"

        async with aiohttp.ClientSession() as session:

            async def bare() -> list[float]:
                return (await ask(session, root, [text]))[0]

            interfaces: dict[str, Query] = {
                BARE: bare,
                SYNC: _blocking(lambda: langchain.embed_query(text)),
                AEMBED: lambda: langchain.aembed_query(text),
                LLAMAINDEX: _blocking(lambda: llamaindex.get_query_embedding(text)),
                ALLAMAINDEX: lambda: llamaindex.aget_query_embedding(text),
            }
            for _ in range(_WARM_UP):
                for query in interfaces.values():
                    assert len(await query()) == DIMENSION
            gc.collect()
            taken: dict[str, list[float]] = {name: [] for name in interfaces}
            order = list(interfaces.items())
            for _ in range(calls):
                order.append(order.pop(0))  # so that none always follows the same one
                for name, query in order:
                    start = time.perf_counter()
                    await query()
                    taken[name].append((time.perf_counter() - start) * 1000)
    return {name: Latency(median(each), quantiles(each, n=100)[98]) for name, each in taken.items()}


def _blocking(call: Callable[[], list[float]]) -> Query:
    """Return a sync call as an awaitable that blocks the loop, which is idle meanwhile."""

    async def query() -> list[float]:
        return call()

    return query


def middle(
    rounds: list[dict[str, Latency]], name: str, figure: Callable[[Latency], float]
) -> float:
    """Return the median over the rounds of an interface's latency, in ms."""
    return median(figure(each[name]) for each in rounds)


def added(rounds: list[dict[str, Latency]], name: str, figure: Callable[[Latency], float]) -> float:
    """Return the median over the rounds of an interface's overhead over the bare call, in ms."""
    return median(figure(each[name]) - figure(each[BARE]) for each in rounds)
