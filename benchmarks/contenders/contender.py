"""The interface of a measured client, and concurrency for those that send one request at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

MODEL = "text-embedding-v4"
API_KEY = "sk-benchmark"
TEXTS_PER_REQUEST = 10
IN_FLIGHT = 32

Row: TypeAlias = Sequence[float] | None
Rows: TypeAlias = Sequence[Row] | NDArray[np.float32]
Embed: TypeAlias = Callable[[list[str]], Rows]


@dataclass(frozen=True)
class Contender:
    """One client that embeds texts.

    Attributes:
        name: Its name in tables.
        opened: Opens a new client of the service at a root, with optional further options;
            the block gets its function.
        texts: Maximum texts of a call; clients that take much CPU time get fewer.
        serial: Whether it sends one request after the other.
    """

    name: str
    opened: Callable[..., AbstractContextManager[Embed]]
    texts: int = 10_000
    serial: bool = False


class IncompleteError(Exception):
    """Some requests failed permanently.

    Attributes:
        result: The vectors of the others; `None` for texts without one.
    """

    def __init__(self, result: list[Row], cause: Exception) -> None:
        super().__init__(f"{type(cause).__name__}: {cause}")
        self.result = result


def batches(texts: list[str]) -> list[list[str]]:
    """Return the texts of each request."""
    starts = range(0, len(texts), TEXTS_PER_REQUEST)
    return [texts[start : start + TEXTS_PER_REQUEST] for start in starts]


async def gathered(texts: list[str], embed: Callable[[list[str]], Awaitable[Rows]]) -> Rows:
    """Embed by async calls of one request each, `IN_FLIGHT` at a time.

    Raises:
        IncompleteError: If some failed.
    """
    requests = batches(texts)
    outcomes: list[Rows | Exception] = [[]] * len(requests)
    pending = iter(enumerate(requests))

    async def attempt(request: list[str]) -> Rows | Exception:
        try:
            return await embed(request)
        except Exception as error:
            return error

    async def work() -> None:
        for place, request in pending:
            outcomes[place] = await attempt(request)

    await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return _joined(requests, outcomes)


def threaded(texts: list[str], embed: Callable[[list[str]], Rows]) -> Rows:
    """Embed by blocking calls of one request each, in `IN_FLIGHT` threads.

    Raises:
        IncompleteError: If some failed.
    """

    def attempt(request: list[str]) -> Rows | Exception:
        try:
            return embed(request)
        except Exception as error:
            return error

    requests = batches(texts)
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        return _joined(requests, list(pool.map(attempt, requests)))


def _joined(requests: list[list[str]], outcomes: Sequence[Rows | Exception]) -> Rows:
    rows: list[Row] = []
    for request, outcome in zip(requests, outcomes, strict=True):
        rows.extend([None] * len(request) if isinstance(outcome, Exception) else outcome)
    failures = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
    if failures:
        raise IncompleteError(rows, failures[0])
    return rows
