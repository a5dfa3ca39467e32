"""Measures texts a second and CPU time: this package, its peer, and the floor of a bare client."""

from __future__ import annotations

import argparse
import asyncio
import gc
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import aiohttp
import msgspec
import numpy as np
from numpy.typing import NDArray
from stub import DIMENSION, HOST, PATH, Stub, vectors

from langchain_qwen_embed import QwenEmbeddings
from llamaindex_qwen_embed import QwenEmbedding
from qwen_embed import QwenEmbedder

MODEL = "text-embedding-v4"
API_KEY = "sk-benchmark"
TEXTS_PER_REQUEST = 10
IN_FLIGHT = 32
BAR = 25.0
"""How many times the peer's throughput sync `embed_documents` must reach, at `BAR_LATENCY`."""
BAR_LATENCY = 0.1
BAR_TEXTS = 10_000

Rows = Sequence[Sequence[float]] | NDArray[np.float32] | None
Embed = Callable[[list[str]], Rows]

_FIRST_FLOATS = [vector[0] for vector in vectors()]


@dataclass(frozen=True)
class Contender:
    """One way to embed texts.

    Attributes:
        name: Its name in the table.
        opened: Opens a new client of the service at a native root; the block gets its call.
    """

    name: str
    opened: Callable[[str], AbstractContextManager[Embed]]


@dataclass(frozen=True)
class Measurement:
    """What one call took.

    Attributes:
        rate: Texts per second of wall time.
        cpu: Seconds of CPU time of this process, all threads, per 1,000 texts.
    """

    rate: float
    cpu: float


@contextmanager
def bare_floor(native_url: str) -> Iterator[Embed]:
    """Open the least that can be done in Python: aiohttp, an untyped decode, nothing checked."""
    root = native_url.removesuffix("/api/v1")
    yield lambda texts: asyncio.run(_embed_bare(root + PATH, texts))


async def _embed_bare(url: str, texts: list[str]) -> Rows:
    rows: list[list[float]] = [[]] * len(texts)
    starts = iter(range(0, len(texts), TEXTS_PER_REQUEST))
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def work() -> None:
            for start in starts:
                batch = texts[start : start + TEXTS_PER_REQUEST]
                request = {"model": MODEL, "input": {"texts": batch}, "parameters": {}}
                async with session.post(url, data=msgspec.json.encode(request)) as response:
                    answer: Any = msgspec.json.decode(await response.read())
                for row in answer["output"]["embeddings"]:
                    rows[start + row["text_index"]] = row["embedding"]

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return rows


@contextmanager
def langchain_sync(native_url: str) -> Iterator[Embed]:
    """Open LangChain's `embed_documents`."""
    with QwenEmbeddings(model=MODEL, api_key=API_KEY, base_url=native_url) as embeddings:
        yield embeddings.embed_documents


@contextmanager
def langchain_async(native_url: str) -> Iterator[Embed]:
    """Open LangChain's `aembed_documents`."""
    with QwenEmbeddings(model=MODEL, api_key=API_KEY, base_url=native_url) as embeddings:
        yield lambda texts: asyncio.run(embeddings.aembed_documents(texts))


@contextmanager
def llamaindex_sync(native_url: str) -> Iterator[Embed]:
    """Open LlamaIndex's `get_text_embedding_batch`."""
    with QwenEmbedding(model_name=MODEL, api_key=API_KEY, base_url=native_url) as embedding:
        yield embedding.get_text_embedding_batch


@contextmanager
def core_sync(native_url: str) -> Iterator[Embed]:
    """Open the core's `embed_documents`, which makes a float32 array."""
    with QwenEmbedder(model=MODEL, api_key=API_KEY, base_url=native_url) as embedder:
        yield lambda texts: embedder.embed_documents(texts).dense


@contextmanager
def dashscope_embeddings(native_url: str) -> Iterator[Embed]:
    """Open the peer, which sends one request after the other.

    Raises:
        ImportError: If the packages of the group `bench` are missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # langchain-community announces its end
        import dashscope  # noqa: PLC0415 -- the rest runs without it
        from langchain_community.embeddings import DashScopeEmbeddings  # noqa: PLC0415

        dashscope.base_http_api_url = native_url
        yield DashScopeEmbeddings(model=MODEL, dashscope_api_key=API_KEY).embed_documents


FLOOR = Contender("floor: aiohttp + msgspec", bare_floor)
SYNC = Contender("LangChain embed_documents", langchain_sync)
PEER = Contender("DashScopeEmbeddings", dashscope_embeddings)
CONTENDERS = [
    FLOOR,
    SYNC,
    Contender("LangChain aembed_documents", langchain_async),
    Contender("LlamaIndex get_text_embedding_batch", llamaindex_sync),
    Contender("QwenEmbedder (float32 array)", core_sync),
    PEER,
]


def make_texts(count: int) -> list[str]:
    """Return distinct texts of some 270 characters; equal ones would be sent only once."""
    passage = "The wind rises; we must try to live. " * 7
    return [f"Passage {number}. {passage}" for number in range(count)]


def measure(contender: Contender, native_url: str, texts: list[str]) -> Measurement:
    """Embed all texts with one call of a new client, and check what came back."""
    with contender.opened(native_url) as embed:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        rows = embed(texts)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    check(contender, rows, len(texts))
    return Measurement(rate=len(texts) / wall, cpu=cpu / len(texts) * 1000)


def check(contender: Contender, rows: Rows, count: int) -> None:
    """Check that there is one whole row a text, in order.

    Raises:
        ValueError: If there is not; figures for wrong answers are worth nothing.
    """
    if rows is None or len(rows) != count:
        raise ValueError(f"{contender.name} did not give {count} rows.")
    for index, row in enumerate(rows):
        due = _FIRST_FLOATS[index % TEXTS_PER_REQUEST]
        if len(row) != DIMENSION or not math.isclose(row[0], due, rel_tol=1e-6):
            raise ValueError(f"{contender.name} gave a wrong row for texts[{index}].")


def available(native_url: str) -> list[Contender]:
    """Return the contenders that can run, each warmed up, and say which cannot."""
    return [contender for contender in CONTENDERS if _runs(contender, native_url)]


def _runs(contender: Contender, native_url: str) -> bool:
    try:
        measure(contender, native_url, make_texts(TEXTS_PER_REQUEST))
    except ImportError as error:
        print(f"Left out: {contender.name} ({error}). Run: uv pip install --group bench\n")
        return False
    return True


def run_rounds(
    native_url: str, contenders: list[Contender], *, texts: int, peer_texts: int, rounds: int
) -> list[dict[Contender, Measurement]]:
    """Measure each contender once a round, so that a slow minute of the machine meets all."""
    counts = {PEER: peer_texts}
    return [
        {
            contender: measure(contender, native_url, make_texts(counts.get(contender, texts)))
            for contender in contenders
        }
        for _ in range(rounds)
    ]


def ratio(
    rounds: list[dict[Contender, Measurement]],
    contender: Contender,
    other: Contender,
    figure: Callable[[Measurement], float],
) -> float:
    """Return the median over the rounds of one contender's figure by another's; NaN without it."""
    if other not in rounds[0]:
        return math.nan
    return median(figure(each[contender]) / figure(each[other]) for each in rounds)


def print_table(rounds: list[dict[Contender, Measurement]]) -> None:
    """Print the medians, and the medians of the rounds' ratios."""
    print(
        f"{'':37}{'texts/s':>9}{'CPU s per':>11}{'texts/s, times':>18}{'CPU, times':>18}\n"
        f"{'':37}{'':>9}{'1,000 texts':>12}{'peer':>10}{'floor':>7}{'peer':>11}{'floor':>7}"
    )
    for contender in rounds[0]:
        rate = median(each[contender].rate for each in rounds)
        cpu = median(each[contender].cpu for each in rounds)
        rates = [ratio(rounds, contender, other, lambda m: m.rate) for other in (PEER, FLOOR)]
        cpus = [ratio(rounds, contender, other, lambda m: m.cpu) for other in (PEER, FLOOR)]
        print(
            f"{contender.name:37}{rate:9,.0f}{cpu:12.3f}"
            f"{rates[0]:10.1f}{rates[1]:7.2f}{cpus[0]:11.2f}{cpus[1]:7.2f}".replace("nan", "  -")
        )


def print_bar(rounds: list[dict[Contender, Measurement]], *, texts: int, latency: float) -> None:
    """Say whether the bar is met, where it was measured under the bar's conditions."""
    if PEER not in rounds[0] or (texts, latency) != (BAR_TEXTS, BAR_LATENCY):
        return
    reached = ratio(rounds, SYNC, PEER, lambda m: m.rate)
    verdict = "met" if reached >= BAR else "MISSED"
    print(f"\n{SYNC.name} over {PEER.name}: {reached:.1f} times; bar {BAR:g}: {verdict}")


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=BAR_TEXTS, help="(%(default)s)")
    parser.add_argument("--latency", type=float, default=BAR_LATENCY, help="s (%(default)s)")
    parser.add_argument("--peer-texts", type=int, default=500, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    os.environ["no_proxy"] = HOST  # a proxy in the environment must not come between
    with Stub(options.latency) as stub:
        rounds = run_rounds(
            stub.native_url,
            available(stub.native_url),
            texts=options.texts,
            peer_texts=options.peer_texts,
            rounds=options.rounds,
        )
    print(
        f"{options.texts:,} texts in one call ({options.peer_texts:,} for the peer), "
        f"{options.latency * 1000:g} ms a request, medians of {options.rounds} rounds\n"
    )
    print_table(rounds)
    print_bar(rounds, texts=options.texts, latency=options.latency)


if __name__ == "__main__":
    main()
