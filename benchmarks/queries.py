"""What `embed_query` adds to a bare aiohttp call, in interleaved single calls without latency."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median, quantiles

import aiohttp
from contenders.floor import ask
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
    """Time single queries, each way in turn, so many calls of each a round."""
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

            ways: dict[str, Query] = {
                BARE: bare,
                SYNC: _blocking(lambda: langchain.embed_query(text)),
                AEMBED: lambda: langchain.aembed_query(text),
                LLAMAINDEX: _blocking(lambda: llamaindex.get_query_embedding(text)),
                ALLAMAINDEX: lambda: llamaindex.aget_query_embedding(text),
            }
            for _ in range(_WARM_UP):
                for query in ways.values():
                    assert len(await query()) == DIMENSION
            gc.collect()
            taken: dict[str, list[float]] = {name: [] for name in ways}
            order = list(ways.items())
            for _ in range(calls):
                order.append(order.pop(0))  # no way always comes after the same one
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
    """Return the median over the rounds of what a way takes, in ms."""
    return median(figure(each[name]) for each in rounds)


def added(rounds: list[dict[str, Latency]], name: str, figure: Callable[[Latency], float]) -> float:
    """Return the median over the rounds of what a way takes more than the bare call, in ms."""
    return median(figure(each[name]) - figure(each[BARE]) for each in rounds)
