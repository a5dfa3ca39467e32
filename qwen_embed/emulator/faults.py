"""Faults that are injected into the next requests, in order or at random."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DropMoment = Literal["before", "body"]


@dataclass(frozen=True)
class InjectedResponse:
    """An error response; `body` replaces the JSON that holds code and message."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class DroppedConnection:
    """A connection that is closed before the response, or in the middle of its body."""

    when: DropMoment


@dataclass(frozen=True)
class TruncatedBody:
    """A complete HTTP response that holds only the first half of its body."""


@dataclass(frozen=True)
class Delay:
    """A response that is late."""

    seconds: float


Fault = InjectedResponse | DroppedConnection | TruncatedBody | Delay


def _response(status: int, code: str, body: bytes | None = None) -> InjectedResponse:
    return InjectedResponse(status, code, "please try again later.", {}, body)


TRANSIENT_FAULTS: tuple[Fault, ...] = (
    _response(429, "Throttling.RateQuota"),
    _response(500, "InternalError"),
    _response(502, "", b"<html><h1>502 Bad Gateway</h1></html>"),
    _response(503, "ServiceUnavailable"),
    DroppedConnection("before"),
    DroppedConnection("body"),
    TruncatedBody(),
    Delay(1.0),
)
"""Faults after which a retry succeeds."""


@dataclass
class RandomFaults:
    """Faults at random.

    Attributes:
        rate: The share of requests that get a fault.
        faults: The faults to choose from, all equally likely.
        rng: The source of randomness.
    """

    rate: float = 0.0
    faults: Sequence[Fault] = TRANSIENT_FAULTS
    rng: random.Random = field(default_factory=random.Random)

    def draw(self) -> Fault | None:
        """Return the fault of one request, or `None`."""
        if self.rate and self.rng.random() < self.rate:
            return self.rng.choice(self.faults)
        return None


class FaultQueue:
    """The faults of the next requests. Thread-safe."""

    def __init__(self) -> None:
        self._queue: deque[Fault] = deque()
        self._random_faults = RandomFaults()
        self._lock = threading.Lock()

    def add(self, fault: Fault, n: int) -> None:
        """Queue a fault for `n` requests, after the faults already queued.

        Raises:
            ValueError: When `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"n must be at least 1, not {n}.")
        with self._lock:
            self._queue.extend([fault] * n)

    def set_random_faults(self, random_faults: RandomFaults) -> None:
        """Set the random faults that requests get while the queue is empty."""
        with self._lock:
            self._random_faults = random_faults

    def next(self) -> Fault | None:
        """Return the fault of the current request, or `None`."""
        with self._lock:
            return self._queue.popleft() if self._queue else self._random_faults.draw()
