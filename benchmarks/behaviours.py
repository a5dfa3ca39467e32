"""The behaviours that are compared: each is a function that runs a client and returns a table cell.

Nothing depends on the machine's speed: where timing matters, the service's latency dominates.
"""

from __future__ import annotations

import asyncio
import json
import pickle
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from operator import attrgetter
from typing import Any

import numpy as np
from aiohttp import web
from clients import API_KEY, MODEL, Client, opened

from qwen_embed.emulator import Emulator

LATENCY = 0.6
"""Seconds of a response where timing matters."""
TICK = 0.01

YES = "yes"
NO = "no"
FAILS = "fails"

Plan = Callable[[Emulator, int, list[str]], None]


class PlannedEmulator(Emulator):
    """An emulator with faults in requests that a plan chooses.

    Args:
        plan: Called before each response with the emulator, the number of the request, from 1, and
            its texts; it may inject a fault.
        **options: Those of `Emulator`.
    """

    def __init__(self, plan: Plan, **options: Any) -> None:
        super().__init__(api_key=API_KEY, **options)
        self._plan = plan
        self._number = 0

    async def handle(self, request: web.Request, worker: Executor) -> web.StreamResponse:
        """Answer one HTTP request."""
        body = await request.read()
        # No await until the fault is taken, so that no other request takes it.
        self._number += 1
        self._plan(self, self._number, texts_of(json.loads(body)))
        return await super().handle(request, worker)


def serving(**options: Any) -> Emulator:
    """Return an emulator without faults."""
    return Emulator(api_key=API_KEY, **options)


def sentences(count: int) -> list[str]:
    """Return distinct texts."""
    return [f"passage {number}" for number in range(count)]


def texts_of(body: Any) -> list[str]:
    """Return the texts of a request by either protocol."""
    return body["input"]["texts"] if isinstance(body["input"], dict) else body["input"]


def rows_of(call: Callable[[], Sequence[Any]]) -> tuple[list[Any], bool]:
    """Return the vectors of a call, or those in its error, and whether it failed.

    A text without a vector has `None`, or nothing.
    """
    try:
        return list(call()), False
    except Exception as error:
        return list(getattr(error, "result", [])), True


def kept(rows: Sequence[Any]) -> int:
    """Return how many texts have a vector."""
    return sum(bool(row) for row in rows)


def outcome(call: Callable[[], Sequence[Any]], count: int) -> str:
    """Return whether a call returns all vectors."""
    rows, failed = rows_of(call)
    if failed:
        return FAILS
    return YES if kept(rows) == count else f"{count - kept(rows)} vectors lost"


def either(one: str, other: str) -> str:
    """Return one cell for both."""
    return one if one == other else f"{one} / {other}"


def documents_calls(texts: list[str]) -> list[Callable[[Client], Sequence[Any]]]:
    """Return the sync and the async call that embed texts."""
    return [
        lambda client: client.documents(texts),
        lambda client: asyncio.run(client.adocuments(texts)),
    ]


def queries_are_queries(kind: type[Client]) -> str:
    """Whether queries are sent as queries."""
    found = []
    for call in (lambda client: client.query("a"), lambda client: asyncio.run(client.aquery("a"))):
        with serving() as service, opened(kind, service) as client:
            call(client)
            parameters = service.requests[-1].body.get("parameters", {})
            found.append(YES if parameters.get("text_type") == "query" else NO)
    return either(*found)


def a_long_list(kind: type[Client]) -> str:
    """Whether one call embeds 95 texts, without an option for the service's limit."""
    texts = sentences(95)
    found = []
    for call in documents_calls(texts):
        with serving() as service, opened(kind, service, batch_size=None) as client:
            found.append(outcome(lambda call=call, client=client: call(client), 95))
    return either(*found)


def concurrent_requests(kind: type[Client]) -> str:
    """How many of the requests for 95 texts are in flight before the first response."""
    texts = sentences(95)
    found = []

    def delay_the_first(service: Emulator, number: int, _: list[str]) -> None:
        started = service.requests[0].started_at if number > 1 else time.monotonic()
        service.latency = LATENCY if time.monotonic() - started < LATENCY else 0.01

    for call in documents_calls(texts):
        with PlannedEmulator(delay_the_first) as service, opened(kind, service) as client:
            call(client)
            found.append(f"{service.peak_in_flight} of {len(service.requests)}")
    return either(*found)


def a_lower_limit(kind: type[Client]) -> str:
    """Whether 30 texts get their vectors if the service accepts 6 per request instead of 10."""
    with serving() as service, opened(kind, service) as client:
        service.set_model(MODEL, texts_per_request=6)
        return outcome(lambda: client.documents(sentences(30)), 30)


def a_newer_model(kind: type[Client]) -> str:
    """Whether 30 texts get their vectors from a model that accepts 20 per request."""
    with serving() as service, opened(kind, service, model="qwen3.7-text-embedding") as client:
        return outcome(lambda: client.documents(sentences(30)), 30)


def a_dimension(kind: type[Client]) -> str:
    """Whether vectors of 256 dimensions are supported."""
    with serving() as service:
        try:
            with opened(kind, service, dimension=256) as client:
                return YES if len(client.query("a")) == 256 else "ignored"
        except ValueError:
            return NO


def an_instruction(kind: type[Client]) -> str:
    """Whether an instruction changes a query's vector."""
    with serving() as service:
        try:
            with opened(kind, service, instruct="Find a rhyme") as client:
                instructed = client.query("a")
        except ValueError:
            return NO
        with opened(kind, service) as client:
            return NO if np.allclose(instructed, client.query("a")) else YES


def both_kinds(kind: type[Client]) -> str:
    """How many requests dense and sparse vectors of 20 texts take, called as stores do."""
    with serving() as service:
        try:
            with opened(kind, service, output_type="dense&sparse") as client:
                dense, sparse = client.both(sentences(20))
        except (NotImplementedError, ValueError):
            return "no sparse"
        if not kept(dense) == kept(sparse) == 20:
            return FAILS
        return str(len(service.requests))


def _one_fault_in_200(kind: type[Client], fault: Callable[[Emulator], None]) -> str:
    def at_the_eleventh(service: Emulator, number: int, _: list[str]) -> None:
        if number == 11:
            fault(service)

    with PlannedEmulator(at_the_eleventh) as service, opened(kind, service) as client:
        rows, _ = rows_of(lambda: client.documents(sentences(200)))
        return f"{kept(rows)}, {len(service.requests)}"


def one_429(kind: type[Client]) -> str:
    """How many vectors and requests there are after a 429 in the middle."""
    return _one_fault_in_200(
        kind, lambda service: service.fail_next(1, status=429, code="Throttling.RateQuota")
    )


def one_lost_connection(kind: type[Client]) -> str:
    """The same for a connection that closes before a response, and in the middle of one."""
    return either(
        _one_fault_in_200(kind, lambda service: service.drop_next(1, when="before")),
        _one_fault_in_200(kind, lambda service: service.drop_next(1, when="body")),
    )


def one_text_rejected(kind: type[Client]) -> str:
    """How many vectors are returned if moderation rejects one of 30 texts."""
    texts = sentences(30)

    def moderate(service: Emulator, _: int, sent: list[str]) -> None:
        if texts[15] in sent:
            message = "Input data may contain inappropriate content."
            service.fail_next(1, status=400, code="DataInspectionFailed", message=message)

    with PlannedEmulator(moderate) as service, opened(kind, service) as client:
        return str(kept(rows_of(lambda: client.documents(texts))[0]))


def one_empty_text(kind: type[Client]) -> str:
    """The effect of an empty text among 30, and how many requests are sent."""
    texts = [*sentences(25), "", *sentences(4)]
    with serving() as service, opened(kind, service) as client:
        rows, failed = rows_of(lambda: client.documents(texts))
        sent = f"{len(service.requests)} sent"
        return f"error, {sent}" if failed else f"{30 - kept(rows)} vectors lost, {sent}"


def a_rejected_query(kind: type[Client]) -> str:
    """Whether a query that is rejected, here for an overdue balance, raises an error."""
    with serving() as service, opened(kind, service) as client:
        service.fail_next(1, status=400, code="Arrearage", message="Access denied.")
        try:
            return f"`{client.query('a')}`"
        except Exception:
            return "error"


def another_order(kind: type[Client]) -> str:
    """Whether each text gets its own vector if a response has them in another order."""
    texts = sentences(10)
    with serving() as service, opened(kind, service) as client:
        right = client.documents(texts)
        service.shuffle = True
        return YES if np.allclose(client.documents(texts), right) else NO


def a_missing_vector(kind: type[Client]) -> str:
    """Whether it is noticed that a response has 9 vectors for 10 texts."""
    row = [0.5] * 1024
    native = [{"text_index": number, "embedding": row} for number in range(9)]
    by_openai = [{"index": number, "embedding": row, "object": "embedding"} for number in range(9)]
    answer = {
        "output": {"embeddings": native},
        "data": by_openai,
        "model": MODEL,
        "object": "list",
        "usage": {"prompt_tokens": 9, "total_tokens": 9},
        "request_id": "a",
    }
    with serving() as service, opened(kind, service) as client:
        headers = {"Content-Type": "application/json"}
        service.fail_next(1, status=200, headers=headers, body=json.dumps(answer).encode())
        rows, failed = rows_of(lambda: client.documents(sentences(10)))
        if failed:
            return YES
        return "`None` for it" if len(rows) == 10 and kept(rows) == 9 else NO


def duplicates(kind: type[Client]) -> str:
    """How many texts are sent for 30 of which 10 are distinct."""
    with serving() as service, opened(kind, service) as client:
        client.documents(sentences(10) * 3)
        return str(sum(len(texts_of(request.body)) for request in service.requests))


def a_line_break(kind: type[Client]) -> str:
    """Whether a text with a line break is sent unchanged."""
    text = "two\nlines"
    with serving() as service, opened(kind, service) as client:
        client.documents([text])
        return YES if texts_of(service.requests[-1].body) == [text] else NO


def a_free_event_loop(kind: type[Client]) -> str:
    """Whether other coroutines run while an async call waits for its responses."""

    async def longest_pause(client: Client) -> float:
        pauses: list[float] = []

        async def tick() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(TICK)
                pauses.append(time.monotonic() - before)

        ticking = asyncio.create_task(tick())
        await asyncio.sleep(TICK)
        await client.adocuments(["a", "b"])
        await asyncio.sleep(2 * TICK)
        ticking.cancel()
        return max(pauses)

    with serving() as service, opened(kind, service) as client:
        client.query("loads what the first call loads")
        service.latency = LATENCY
        return NO if asyncio.run(longest_pause(client)) >= LATENCY else YES


def a_second_event_loop(kind: type[Client]) -> str:
    """Whether async calls of one object work in consecutive `asyncio.run` calls."""
    with serving() as service, opened(kind, service) as client:
        asyncio.run(client.adocuments(["a"]))
        return outcome(lambda: asyncio.run(client.adocuments(["b"])), 1)


def worker_processes(kind: type[Client]) -> str:
    """Whether the object, pickled as for a worker process, embeds."""
    with serving() as service, opened(kind, service) as client:
        try:
            client.query("a")
            client.embeddings = pickle.loads(pickle.dumps(client.embeddings))  # noqa: S301 -- our own
            return YES if client.query("b") else FAILS
        except Exception:
            return FAILS


def two_keys(kind: type[Client]) -> str:
    """Whether two objects with two keys each send their own."""
    with serving() as service, opened(kind, service) as client:
        with opened(kind, service, api_key="sk-another"):
            rows_of(lambda: client.query("a"))
        return YES if service.requests[-1].api_key == API_KEY else NO


def where_the_key_shows(kind: type[Client]) -> str:
    """Which of the object's representations contain the key."""
    with serving() as service, opened(kind, service) as client:
        client.query("a")
        outlets = {"`repr`": _printed, "`model_dump`": _dumped, "`to_dict`": _as_dict}
        shown = [name for name, outlet in outlets.items() if API_KEY in outlet(client.embeddings)]
        return ", ".join(shown) or "nowhere"


def _printed(embeddings: Any) -> str:
    return f"{embeddings!r} {embeddings}"


def _dumped(embeddings: Any) -> str:
    return str(embeddings.model_dump()) if hasattr(embeddings, "model_dump") else ""


def _as_dict(embeddings: Any) -> str:
    return str(embeddings.to_dict()) if hasattr(embeddings, "to_dict") else ""


def _has(kind: type[Client], *calls: str) -> str:
    with serving() as service, opened(kind, service) as client:
        for call in calls:
            with suppress(AttributeError):
                attrgetter(call)(client.embeddings)
                return YES
    return NO


def images(kind: type[Client]) -> str:
    """Whether it has a method for images. It is only looked up: the emulator embeds texts only."""
    return _has(kind, "get_image_embedding", "multimodal.embeddings.create")


def batch_jobs(kind: type[Client]) -> str:
    """Whether it has a method for batch jobs over a file. It is only looked up."""
    return _has(kind, "get_batch_text_embedding", "embeddings.jobs.create")


BEHAVIOURS: dict[str, Callable[[type[Client]], str]] = {
    "queries are sent as queries": queries_are_queries,
    "`instruct` for queries": an_instruction,
    "dimension 256": a_dimension,
    "95 texts in one call, default options": a_long_list,
    "concurrent requests for 95 texts": concurrent_requests,
    "the limit per request drops from 10 texts to 6": a_lower_limit,
    "30 texts with `qwen3.7-text-embedding`": a_newer_model,
    "requests for dense and sparse of 20 texts": both_kinds,
    "texts sent for 30, 10 of them distinct": duplicates,
    "one 429: vectors of 200, requests": one_429,
    "one lost connection: vectors of 200, requests": one_lost_connection,
    "one text rejected: vectors of 30": one_text_rejected,
    "one empty text of 30: requests sent": one_empty_text,
    "a rejected query returns": a_rejected_query,
    "vectors in another order are reordered": another_order,
    "a missing vector is detected": a_missing_vector,
    "a line break is sent unchanged": a_line_break,
    "async calls do not block the event loop": a_free_event_loop,
    "works in a second `asyncio.run`": a_second_event_loop,
    "works in a worker process (pickled)": worker_processes,
    "two keys side by side": two_keys,
    "the key shows in": where_the_key_shows,
    "images": images,
    "batch jobs": batch_jobs,
}
"""The rows of the table, by their label."""
