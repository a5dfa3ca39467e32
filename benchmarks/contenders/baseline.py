"""The baseline: the minimum of work in Python. Nothing is checked, and nothing is retried."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import orjson
from stub import PATH

from contenders.contender import IN_FLIGHT, MODEL, Contender, Embed, Rows, gathered


async def ask(session: aiohttp.ClientSession, root: str, texts: list[str]) -> list[list[float]]:
    """Return the vectors of one request, in the order of the response."""
    request = {"model": MODEL, "input": {"texts": texts}, "parameters": {}}
    async with session.post(root + PATH, data=orjson.dumps(request)) as response:
        answer: Any = orjson.loads(await response.read())
    return [row["embedding"] for row in answer["output"]["embeddings"]]


@contextmanager
def bare(root: str) -> Iterator[Embed]:
    """Open aiohttp with an untyped decode."""

    async def embed(texts: list[str]) -> Rows:
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT)
        async with aiohttp.ClientSession(connector=connector) as session:
            return await gathered(texts, lambda request: ask(session, root, request))

    yield lambda texts: asyncio.run(embed(texts))


BASELINE = Contender("baseline: aiohttp + orjson", bare)
