"""Records every request in order of arrival, and counts those in flight."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import msgspec
from aiohttp import web


@dataclass(frozen=True)
class RecordedRequest:
    """A request that the emulator received.

    Attributes:
        path: The path, without the query string.
        api_key: The key of the header `Authorization: Bearer`, or `None`.
        headers: The other headers; lookups ignore case.
        body: The parsed JSON, or `None` if the body was not JSON.
        status: The HTTP status of the response; `None` until there is one, or if the connection
            was dropped before it.
        code: The error code of the service, or the error type of a self-hosted server; `None` if
            there is none.
        whole: Whether the whole response was sent.
        client: The client's end of the connection, `host:port`; the same for all requests on one
            connection.
        started_at: When the request started to arrive, in seconds of `time.monotonic`.

    Example:
        >>> from qwen_embed import QwenEmbedder
        >>> from qwen_embed.emulator import Emulator
        >>> with Emulator() as service:
        ...     options = {"api_key": service.api_key, "base_url": service.native_url}
        ...     with QwenEmbedder(dimension=256, **options) as embedder:
        ...         result = embedder.embed_query("wind")
        ...     [request] = service.requests
        >>> request.status, request.body["parameters"]
        (200, {'text_type': 'query', 'dimension': 256})
    """

    path: str
    api_key: str | None
    headers: Mapping[str, str]
    body: Any
    status: int | None
    code: str | None
    client: str | None
    started_at: float
    whole: bool = False


def record(request: web.Request, raw: bytes, started_at: float) -> RecordedRequest:
    """Return the record of a request that has no response yet."""
    headers = request.headers.copy()
    scheme, _, key = headers.popall("Authorization", [""])[0].partition(" ")
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        body = None
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return RecordedRequest(
        path=request.path,
        api_key=key.strip() if scheme.lower() == "bearer" else None,
        headers=headers,
        body=body,
        status=None,
        code=None,
        client=f"{peer[0]}:{peer[1]}" if peer else None,
        started_at=started_at,
    )


class Recorder:
    """Keeps the recorded requests and counts those in flight. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._requests: dict[int, RecordedRequest] = {}
        self._in_flight = 0
        self._peak = 0

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests in order of arrival, in a new list."""
        with self._lock:
            return list(self._requests.values())

    @property
    def peak_in_flight(self) -> int:
        """The most requests in flight at one time."""
        with self._lock:
            return self._peak

    @contextmanager
    def flight(self) -> Iterator[None]:
        """Count one request as in flight."""
        with self._lock:
            self._in_flight += 1
            self._peak = max(self._peak, self._in_flight)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight -= 1

    def add(self, request: RecordedRequest) -> int:
        """Keep a request and return its number."""
        with self._lock:
            number = next(self._numbers)
            self._requests[number] = request
            return number

    def set_response(self, number: int, status: int, code: str | None, *, whole: bool) -> None:
        """Record the response to a request, unless the request was cleared."""
        with self._lock:
            request = self._requests.get(number)
            if request is not None:
                self._requests[number] = replace(request, status=status, code=code, whole=whole)

    def clear(self) -> None:
        """Forget the requests, and restart the peak from the number in flight now."""
        with self._lock:
            self._requests.clear()
            self._peak = self._in_flight
