"""Which of the next requests go wrong on purpose, and how."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

DropMoment = Literal["before", "body"]


@dataclass(frozen=True)
class Failure:
    """An answer given in place of the right one; `body` replaces the JSON of code and message."""

    status: int
    code: str
    message: str
    headers: Mapping[str, str]
    body: bytes | None


@dataclass(frozen=True)
class Drop:
    """A connection closed before its answer, or in the middle of its answer's body."""

    when: DropMoment


@dataclass(frozen=True)
class CutShort:
    """An answer of which only the first half is sent, as if that were all."""


@dataclass(frozen=True)
class Delay:
    """An answer that takes longer."""

    seconds: float


Fault = Failure | Drop | CutShort | Delay


def _failure(status: int, code: str, body: bytes | None = None) -> Failure:
    return Failure(status, code, "please try again later.", {}, body)


STORM: tuple[Fault, ...] = (
    _failure(429, "Throttling.RateQuota"),
    _failure(500, "InternalError"),
    _failure(502, "", b"<html><h1>502 Bad Gateway</h1></html>"),
    _failure(503, "ServiceUnavailable"),
    Drop("before"),
    Drop("body"),
    CutShort(),
    Delay(1.0),
)
"""Everything that goes wrong and heals."""


@dataclass
class Storm:
    """Faults that happen by chance.

    Attributes:
        rate: The part of all requests that have one.
        faults: Those that happen, each as often as the others.
        chance: What they are drawn from.
    """

    rate: float = 0.0
    faults: Sequence[Fault] = STORM
    chance: random.Random = field(default_factory=random.Random)

    def draw(self) -> Fault | None:
        """Return the fault of a request, if it has one."""
        if self.rate and self.chance.random() < self.rate:
            return self.chance.choice(self.faults)
        return None


class FaultQueue:
    """Faults in the order in which they were planned. Any thread may plan, while one takes."""

    def __init__(self) -> None:
        self._planned: deque[Fault] = deque()
        self._storm = Storm()
        self._lock = threading.Lock()

    def plan(self, fault: Fault, times: int) -> None:
        """Let a fault happen so many times, after those planned before.

        Raises:
            ValueError: When `times` is below 1.
        """
        if times < 1:
            raise ValueError(f"A fault must be planned for at least 1 request, not {times}.")
        with self._lock:
            self._planned.extend([fault] * times)

    def let_storm(self, storm: Storm) -> None:
        """Let faults happen by chance, once those planned have happened."""
        with self._lock:
            self._storm = storm

    def take(self) -> Fault | None:
        """Return the fault of the request at hand, if it has one."""
        with self._lock:
            return self._planned.popleft() if self._planned else self._storm.draw()
