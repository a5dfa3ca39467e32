"""What is compared: each behaviour a function that runs a program, and says shortly what it did.

Nothing hangs on the machine's speed: where a program has to be caught in the act, the service takes
so long to answer that nothing else counts.
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
from ways import API_KEY, MODEL, Way, opened

from qwen_embed.emulator import Emulator

LATENCY = 0.6
"""Seconds that an answer takes where a program is caught in the act."""
TICK = 0.01

YES = "yes"
NO = "no"
FAILS = "fails"

Plan = Callable[[Emulator, int, list[str]], None]


class PlannedEmulator(Emulator):
    """An emulator that goes wrong at requests that a plan chooses.

    Args:
        plan: Gets the emulator, the number of a request from 1 on, and its texts, before the
            request is answered, so that it may plan a fault for it.
        **options: Those of `Emulator`.
    """

    def __init__(self, plan: Plan, **options: Any) -> None:
        super().__init__(api_key=API_KEY, **options)
        self._plan = plan
        self._number = 0

    async def handle(self, request: web.Request, worker: Executor) -> web.StreamResponse:
        """Answer one HTTP request."""
        body = await request.read()
        # Nothing is awaited from here until the fault is taken, so that no other request takes it.
        self._number += 1
        self._plan(self, self._number, texts_of(json.loads(body)))
        return await super().handle(request, worker)


def serving(**options: Any) -> Emulator:
    """Return an emulator that nothing is wrong with."""
    return Emulator(api_key=API_KEY, **options)


def sentences(count: int) -> list[str]:
    """Return so many texts, all different."""
    return [f"passage {number}" for number in range(count)]


def texts_of(body: Any) -> list[str]:
    """Return the texts of a request by either protocol."""
    return body["input"]["texts"] if isinstance(body["input"], dict) else body["input"]


def rows_of(call: Callable[[], Sequence[Any]]) -> tuple[list[Any], bool]:
    """Return the rows that a call gives, those that its error carries included, and if it failed.

    A text without a row has `None`, or nothing.
    """
    try:
        return list(call()), False
    except Exception as error:
        return list(getattr(error, "result", [])), True


def kept(rows: Sequence[Any]) -> int:
    """Return how many texts have a row."""
    return sum(bool(row) for row in rows)


def outcome(call: Callable[[], Sequence[Any]], count: int) -> str:
    """Return whether a call gives all rows."""
    rows, failed = rows_of(call)
    if failed:
        return FAILS
    return YES if kept(rows) == count else f"{count - kept(rows)} rows lost"


def either(one: str, other: str) -> str:
    """Return one cell for both."""
    return one if one == other else f"{one} / {other}"


def queries_are_queries(kind: type[Way]) -> str:
    """Whether the service is told that a query is one."""
    found = []
    for call in (lambda way: way.query("a"), lambda way: asyncio.run(way.aquery("a"))):
        with serving() as service, opened(kind, service) as way:
            call(way)
            parameters = service.requests[-1].body.get("parameters", {})
            found.append(YES if parameters.get("text_type") == "query" else NO)
    return either(*found)


def a_long_list(kind: type[Way]) -> str:
    """Whether 95 texts can be given whole, with nothing told about the service's cap."""
    texts = sentences(95)
    found = []
    for call in (lambda way: way.documents(texts), lambda way: asyncio.run(way.adocuments(texts))):
        with serving() as service, opened(kind, service, batch_size=None) as way:
            found.append(outcome(lambda call=call, way=way: call(way), 95))
    return either(*found)


def requests_at_once(kind: type[Way]) -> str:
    """How many requests are in flight before the first is answered, of those for 95 texts."""
    texts = sentences(95)
    found = []

    def hold_the_first(service: Emulator, number: int, _: list[str]) -> None:
        started = service.requests[0].started_at if number > 1 else time.monotonic()
        service.latency = LATENCY if time.monotonic() - started < LATENCY else 0.01

    for call in (lambda way: way.documents(texts), lambda way: asyncio.run(way.adocuments(texts))):
        with PlannedEmulator(hold_the_first) as service, opened(kind, service) as way:
            call(way)
            found.append(f"{service.peak_in_flight} of {len(service.requests)}")
    return either(*found)


def a_lower_cap(kind: type[Way]) -> str:
    """Whether 30 texts get their rows where the service takes 6 and no longer 10."""
    with serving() as service, opened(kind, service) as way:
        service.set_model(MODEL, texts_per_request=6)
        return outcome(lambda: way.documents(sentences(30)), 30)


def a_newer_model(kind: type[Way]) -> str:
    """Whether 30 texts get their rows from a model that takes 20 a request."""
    with serving() as service, opened(kind, service, model="qwen3.7-text-embedding") as way:
        return outcome(lambda: way.documents(sentences(30)), 30)


def a_dimension(kind: type[Way]) -> str:
    """Whether rows of 256 numbers can be had."""
    with serving() as service:
        try:
            with opened(kind, service, dimension=256) as way:
                return YES if len(way.query("a")) == 256 else "ignored"
        except ValueError:
            return NO


def an_instruction(kind: type[Way]) -> str:
    """Whether an instruction changes a query's vector."""
    with serving() as service:
        try:
            with opened(kind, service, instruct="Find a rhyme") as way:
                told = way.query("a")
        except ValueError:
            return NO
        with opened(kind, service) as way:
            return NO if np.allclose(told, way.query("a")) else YES


def both_kinds(kind: type[Way]) -> str:
    """How many requests dense and sparse vectors of 20 texts take, asked for as stores do."""
    with serving() as service:
        try:
            with opened(kind, service, output_type="dense&sparse") as way:
                dense, sparse = way.both(sentences(20))
        except (NotImplementedError, ValueError):
            return "no sparse"
        if not kept(dense) == kept(sparse) == 20:
            return FAILS
        return str(len(service.requests))


def _one_fault_in_200(kind: type[Way], fault: Callable[[Emulator], None]) -> str:
    def at_the_eleventh(service: Emulator, number: int, _: list[str]) -> None:
        if number == 11:
            fault(service)

    with PlannedEmulator(at_the_eleventh) as service, opened(kind, service) as way:
        rows, _ = rows_of(lambda: way.documents(sentences(200)))
        return f"{kept(rows)}, {len(service.requests)}"


def one_429(kind: type[Way]) -> str:
    """How many rows and requests it takes to get past a 429 in the middle."""
    return _one_fault_in_200(
        kind, lambda service: service.fail_next(1, status=429, code="Throttling.RateQuota")
    )


def one_lost_connection(kind: type[Way]) -> str:
    """The same for a connection that closes before an answer, and in the middle of it."""
    return either(
        _one_fault_in_200(kind, lambda service: service.drop_next(1, when="before")),
        _one_fault_in_200(kind, lambda service: service.drop_next(1, when="body")),
    )


def one_text_refused(kind: type[Way]) -> str:
    """How many rows are left where moderation refuses one of 30 texts."""
    texts = sentences(30)

    def moderate(service: Emulator, _: int, sent: list[str]) -> None:
        if texts[15] in sent:
            message = "Input data may contain inappropriate content."
            service.fail_next(1, status=400, code="DataInspectionFailed", message=message)

    with PlannedEmulator(moderate) as service, opened(kind, service) as way:
        return str(kept(rows_of(lambda: way.documents(texts))[0]))


def one_empty_text(kind: type[Way]) -> str:
    """What an empty text among 30 does, and how many requests were sent by then."""
    texts = [*sentences(25), "", *sentences(4)]
    with serving() as service, opened(kind, service) as way:
        rows, failed = rows_of(lambda: way.documents(texts))
        sent = f"{len(service.requests)} sent"
        return f"error, {sent}" if failed else f"{30 - kept(rows)} rows lost, {sent}"


def a_refused_query(kind: type[Way]) -> str:
    """Whether a query that the service refuses, here for arrears, raises an error."""
    with serving() as service, opened(kind, service) as way:
        service.fail_next(1, status=400, code="Arrearage", message="Access denied.")
        try:
            return f"`{way.query('a')}`"
        except Exception:
            return "error"


def another_order(kind: type[Way]) -> str:
    """Whether each text gets its own row where an answer's rows come in another order."""
    texts = sentences(10)
    with serving() as service, opened(kind, service) as way:
        right = way.documents(texts)
        service.shuffle = True
        return YES if np.allclose(way.documents(texts), right) else NO


def a_row_too_few(kind: type[Way]) -> str:
    """Whether it is noticed that an answer has 9 rows for 10 texts."""
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
    with serving() as service, opened(kind, service) as way:
        headers = {"Content-Type": "application/json"}
        service.fail_next(1, status=200, headers=headers, body=json.dumps(answer).encode())
        rows, failed = rows_of(lambda: way.documents(sentences(10)))
        if failed:
            return YES
        return "`None` for it" if len(rows) == 10 and kept(rows) == 9 else NO


def duplicates(kind: type[Way]) -> str:
    """How many texts are sent for 30 of which 10 are different."""
    with serving() as service, opened(kind, service) as way:
        way.documents(sentences(10) * 3)
        return str(sum(len(texts_of(request.body)) for request in service.requests))


def to_the_letter(kind: type[Way]) -> str:
    """Whether a text with a line break is sent as it is."""
    text = "two\nlines"
    with serving() as service, opened(kind, service) as way:
        way.documents([text])
        return YES if texts_of(service.requests[-1].body) == [text] else NO


def a_free_event_loop(kind: type[Way]) -> str:
    """Whether other coroutines run while an async call waits for its answers."""

    async def longest_pause(way: Way) -> float:
        pauses: list[float] = []

        async def tick() -> None:
            while True:
                before = time.monotonic()
                await asyncio.sleep(TICK)
                pauses.append(time.monotonic() - before)

        ticking = asyncio.create_task(tick())
        await asyncio.sleep(TICK)
        await way.adocuments(["a", "b"])
        await asyncio.sleep(2 * TICK)
        ticking.cancel()
        return max(pauses)

    with serving() as service, opened(kind, service) as way:
        way.query("loads what is loaded with the first call")
        service.latency = LATENCY
        return NO if asyncio.run(longest_pause(way)) >= LATENCY else YES


def a_second_event_loop(kind: type[Way]) -> str:
    """Whether async calls of one object work in one `asyncio.run` after the other."""
    with serving() as service, opened(kind, service) as way:
        asyncio.run(way.adocuments(["a"]))
        return outcome(lambda: asyncio.run(way.adocuments(["b"])), 1)


def worker_processes(kind: type[Way]) -> str:
    """Whether the object, pickled as for a worker process, embeds."""
    with serving() as service, opened(kind, service) as way:
        try:
            way.query("a")
            way.embeddings = pickle.loads(pickle.dumps(way.embeddings))  # noqa: S301 -- our own
            return YES if way.query("b") else FAILS
        except Exception:
            return FAILS


def two_keys(kind: type[Way]) -> str:
    """Whether two objects with two keys each send their own."""
    with serving() as service, opened(kind, service) as way:
        with opened(kind, service, api_key="sk-another"):
            rows_of(lambda: way.query("a"))
        return YES if service.requests[-1].api_key == API_KEY else NO


def where_the_key_shows(kind: type[Way]) -> str:
    """Which ways to print or dump the object have the key in them."""
    with serving() as service, opened(kind, service) as way:
        way.query("a")
        outlets = {"`repr`": _printed, "`model_dump`": _dumped, "`to_dict`": _as_dict}
        shown = [name for name, outlet in outlets.items() if API_KEY in outlet(way.embeddings)]
        return ", ".join(shown) or "nowhere"


def _printed(embeddings: Any) -> str:
    return f"{embeddings!r} {embeddings}"


def _dumped(embeddings: Any) -> str:
    return str(embeddings.model_dump()) if hasattr(embeddings, "model_dump") else ""


def _as_dict(embeddings: Any) -> str:
    return str(embeddings.to_dict()) if hasattr(embeddings, "to_dict") else ""


def _has(kind: type[Way], *calls: str) -> str:
    with serving() as service, opened(kind, service) as way:
        for call in calls:
            with suppress(AttributeError):
                attrgetter(call)(way.embeddings)
                return YES
    return NO


def images(kind: type[Way]) -> str:
    """Whether it has a call for images. Only looked up: the emulator embeds texts alone."""
    return _has(kind, "get_image_embedding", "multimodal.embeddings.create")


def batch_jobs(kind: type[Way]) -> str:
    """Whether it has a call for jobs over a file of texts. Only looked up, as above."""
    return _has(kind, "get_batch_text_embedding", "embeddings.jobs.create")


BEHAVIOURS: dict[str, Callable[[type[Way]], str]] = {
    "queries are sent as queries": queries_are_queries,
    "`instruct` for queries": an_instruction,
    "dimension 256": a_dimension,
    "95 texts in one call, default options": a_long_list,
    "concurrent requests for 95 texts": requests_at_once,
    "the limit per request drops from 10 texts to 6": a_lower_cap,
    "30 texts with `qwen3.7-text-embedding`": a_newer_model,
    "requests for dense and sparse of 20 texts": both_kinds,
    "texts sent for 30, 10 of them distinct": duplicates,
    "one 429: vectors of 200, requests": one_429,
    "one lost connection: vectors of 200, requests": one_lost_connection,
    "one text rejected: vectors of 30": one_text_refused,
    "one empty text of 30: requests sent": one_empty_text,
    "a rejected query returns": a_refused_query,
    "vectors in another order are reordered": another_order,
    "a missing vector is detected": a_row_too_few,
    "a line break is sent unchanged": to_the_letter,
    "async calls do not block the event loop": a_free_event_loop,
    "works in a second `asyncio.run`": a_second_event_loop,
    "works in a worker process (pickled)": worker_processes,
    "two keys side by side": two_keys,
    "the key shows in": where_the_key_shows,
    "images": images,
    "batch jobs": batch_jobs,
}
"""The rows of the table, by what they say."""
