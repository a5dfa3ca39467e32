"""A service whose vectors depend on every option of the request, so that none passes for another.

It shares no code with the package under test, and none with the emulator.
"""

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np
import orjson
from aiohttp import web
from numpy.typing import NDArray
from typing_extensions import Self

MODEL = "text-embedding-v4"
DEFAULT_DIMENSION = 1024
NATIVE_PATH = "/api/v1/services/embeddings/text-embedding/text-embedding"
OPENAI_PATHS = ("/compatible-mode/v1/embeddings", "/v1/embeddings")

_SHUTDOWN_SECONDS = 0.05
_PATIENCE_SECONDS = 20.0


@dataclass(frozen=True)
class Paid:
    """What a text was paid for: all that its vectors depend on, and the kinds of them."""

    text: str
    role: str = "document"
    instruct: str | None = None
    dimension: int = DEFAULT_DIMENSION
    model: str = MODEL
    output: str = "dense"


def expected_dense(
    text: str,
    role: str = "document",
    *,
    instruct: str | None = None,
    dimension: int | None = None,
    model: str = MODEL,
) -> NDArray[np.float32]:
    """Return the one dense vector of a text; its norm is never less than 2, so never 1."""
    return _dense(text, role, instruct, dimension or DEFAULT_DIMENSION, model)


@lru_cache(4096)
def _dense(
    text: str, role: str, instruct: str | None, dimension: int, model: str
) -> NDArray[np.float32]:
    random = _random("dense", text, role, instruct, dimension, model)
    sizes = 2 + random.integers(1024, size=dimension) / 1024  # few digits, exact in float32
    return (sizes * random.choice([-1, 1], size=dimension)).astype(np.float32)


@lru_cache(4096)
def expected_sparse(
    text: str, role: str = "document", *, instruct: str | None = None, model: str = MODEL
) -> dict[int, float]:
    """Return the one sparse vector of a text, in ascending order of index."""
    random = _random("sparse", text, role, instruct, model)
    # So few different ones that texts share some.
    indices = 3907 * random.choice(64, size=random.integers(1, 6), replace=False)
    values = (1 + random.integers(1024, size=len(indices))) / 1024
    return dict(zip(sorted(indices.tolist()), values.tolist(), strict=True))


def token_of(index: int) -> str:
    """Return the token of an index of sparse vectors."""
    return f"token-{index}"


def _random(*asked: object) -> np.random.Generator:
    named = repr([str(each) for each in asked])
    digest = blake2b(named.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest, "big")))


class FingerprintService:
    """Serves the native and the OpenAI-compatible protocol on a loopback port, in a thread.

    Everything may be used from any thread.

    Attributes:
        api_key: The one key that it takes.
        rejected: Texts for which a request is answered with 400; may be changed while it runs.
        delay: Seconds before each answer; may be changed while it runs.
        paid: How often each text was paid for.
        arrived: How many requests have come.
        in_flight: How many of them are not answered yet.
    """

    api_key = "sk-fingerprint"

    def __init__(self) -> None:
        self.rejected: set[str] = set()
        self.delay = 0.0
        self.paid: Counter[Paid] = Counter()
        self.arrived = 0
        self.in_flight = 0
        self._faults: deque[int | None] = deque()
        self._released = threading.Event()
        self._released.set()
        self._changed = threading.Condition()

    @property
    def native_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/v1"

    @property
    def openai_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/compatible-mode/v1"

    def fail_next(self, status: int, times: int = 1) -> None:
        """Answer the next requests with a status: 429 or 500, for example."""
        self._faults.extend([status] * times)

    def drop_next(self, times: int = 1) -> None:
        """Close the connection of the next requests without a response."""
        self._faults.extend([None] * times)

    def hold(self) -> None:
        """Answer nothing until `release`."""
        self._released.clear()

    def release(self) -> None:
        """Answer what was held, and what comes."""
        self._released.set()

    def heal(self) -> None:
        """Forget the failures that were to come."""
        self._faults.clear()

    def wait_until_left(self) -> bool:
        """Wait until no connection is open any more; return whether that is so."""
        end = time.monotonic() + _PATIENCE_SECONDS / 4
        while self._runner.server.connections and time.monotonic() < end:
            time.sleep(0.001)
        return not self._runner.server.connections

    def wait_until_idle(self) -> bool:
        """Wait until all received requests are answered, and return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.in_flight, _PATIENCE_SECONDS)

    def wait_until_arrived(self, count: int) -> bool:
        """Wait until so many requests have come; return whether they have."""
        with self._changed:
            return self._changed.wait_for(lambda: self.arrived >= count, _PATIENCE_SECONDS)

    def times_paid(self, text: str, role: str | None = None) -> int:
        """Return how often a text was billed, with any options."""
        with self._changed:
            return sum(
                times
                for paid, times in self.paid.items()
                if paid.text == text and role in (None, paid.role)
            )

    def start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._port: int = self._on_loop(self._start())

    def stop(self) -> None:
        self.release()
        self._on_loop(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _on_loop(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_PATIENCE_SECONDS)

    async def _start(self) -> int:
        application = web.Application(client_max_size=32 * 1024 * 1024)
        for path in (NATIVE_PATH, *OPENAI_PATHS):
            application.router.add_post(path, self._handle)
        self._runner = web.AppRunner(
            application, access_log=None, shutdown_timeout=_SHUTDOWN_SECONDS
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def _stop(self) -> None:
        server = self._runner.server
        await self._runner.cleanup()
        for _ in range(10):
            await asyncio.sleep(0)  # a connection that was just accepted comes into being
        await server.shutdown(0)
        for _ in range(10):
            await asyncio.sleep(0)

    async def _handle(self, request: web.Request) -> web.Response:
        with self._changed:
            self.arrived += 1
            self.in_flight += 1
            self._changed.notify_all()
        try:
            return await self._answer(request)
        finally:
            with self._changed:
                self.in_flight -= 1
                self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        fault = self._faults.popleft() if self._faults else 200
        await asyncio.sleep(self.delay)
        while not self._released.is_set():
            await asyncio.sleep(0.001)
        if fault is None:
            if request.transport is not None:
                request.transport.close()
            return web.Response()
        if fault != 200:
            return _refusal(fault, {429: "Throttling.RateQuota"}.get(fault, "InternalError"))
        if request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _refusal(401, "InvalidApiKey")
        asked = _read_native(body) if request.path == NATIVE_PATH else _read_openai(body)
        if any(each.text in self.rejected or not each.text.strip() for each in asked):
            return _refusal(400, "InvalidParameter")
        with self._changed:
            self.paid.update(asked)
        if request.path == NATIVE_PATH:
            return _json({"output": {"embeddings": _native_rows(asked)}, "request_id": "1"})
        return _json({"data": _openai_rows(asked, body.get("encoding_format", "float"))})


def _read_native(body: dict[str, Any]) -> list[Paid]:
    given = body["parameters"]
    role = given.get("text_type", "document")
    return [
        Paid(
            text,
            role,
            given.get("instruct") if role == "query" else None,
            given.get("dimension") or DEFAULT_DIMENSION,
            body["model"],
            given.get("output_type", "dense"),
        )
        for text in body["input"]["texts"]
    ]


def _read_openai(body: dict[str, Any]) -> list[Paid]:
    texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
    dimension = body.get("dimensions") or DEFAULT_DIMENSION
    return [Paid(text, dimension=dimension, model=body["model"]) for text in texts]


def _native_rows(asked: list[Paid]) -> list[dict[str, Any]]:
    """Return one vector per text in reverse order: only `text_index` says whose each is."""
    rows = []
    for index, each in reversed(list(enumerate(asked))):
        row: dict[str, Any] = {"text_index": index}
        if each.output != "sparse":
            row["embedding"] = _dense_of(each).tolist()
        if each.output != "dense":
            entries = expected_sparse(
                each.text, each.role, instruct=each.instruct, model=each.model
            )
            row["sparse_embedding"] = [
                {"index": index, "value": value, "token": token_of(index)}
                for index, value in reversed(entries.items())
            ]
        rows.append(row)
    return rows


def _openai_rows(asked: list[Paid], encoding_format: str) -> list[dict[str, Any]]:
    rows = []
    for index, each in reversed(list(enumerate(asked))):
        vector = _dense_of(each)
        packed = base64.b64encode(vector.tobytes()).decode()
        embedding = packed if encoding_format == "base64" else vector.tolist()
        rows.append({"index": index, "embedding": embedding, "object": "embedding"})
    return rows


def _dense_of(paid: Paid) -> NDArray[np.float32]:
    return _dense(paid.text, paid.role, paid.instruct, paid.dimension, paid.model)


def _refusal(status: int, code: str) -> web.Response:
    return _json({"code": code, "message": "As the test wants.", "request_id": "1"}, status)


def _json(body: Any, status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")
