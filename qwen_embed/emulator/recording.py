"""What came in: every request in order of arrival, and how many were in flight at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any


@dataclass(frozen=True)
class RecordedRequest:
    """A request that the emulator received.

    Attributes:
        path: The path, without the query string.
        api_key: The key that came as `Authorization: Bearer`, or `None`.
        headers: The other headers; names are looked up in any capitalisation.
        body: The parsed JSON, or `None` where the body was not JSON.
        status: The HTTP status answered; `None` while there is no answer, and for good where the
            connection was dropped before one.
        code: The code of the service's error, or of a self-hosted server its type; `None` where
            there is none.
        whole: Whether all of the answer was sent.
        client: The other end of the connection, `host:port`: equal for requests that shared one.
        started_at: When the request began to arrive, in seconds of `time.monotonic`.

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


class Recorder:
    """Keeps requests and counts those in flight, for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = count()
        self._requests: dict[int, RecordedRequest] = {}
        self._in_flight = 0
        self._peak = 0

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests in order of arrival: a new list."""
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

    def arrived(self, request: RecordedRequest) -> int:
        """Keep a request; return the number under which it is kept."""
        with self._lock:
            number = next(self._numbers)
            self._requests[number] = request
            return number

    def answered(self, number: int, status: int, code: str | None, *, whole: bool) -> None:
        """Note a request's answer, unless the request has been forgotten."""
        with self._lock:
            request = self._requests.get(number)
            if request is not None:
                self._requests[number] = replace(request, status=status, code=code, whole=whole)

    def clear(self) -> None:
        """Forget the requests, and count the peak anew from those in flight."""
        with self._lock:
            self._requests.clear()
            self._peak = self._in_flight
