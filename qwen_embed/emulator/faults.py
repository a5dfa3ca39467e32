"""Which of the next requests go wrong on purpose, and how."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
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


class FaultQueue:
    """Faults in the order in which they were planned. Any thread may plan, while one takes."""

    def __init__(self) -> None:
        self._planned: deque[Failure | Drop] = deque()

    def plan(self, fault: Failure | Drop, times: int) -> None:
        """Let a fault happen so many times, after those planned before.

        Raises:
            ValueError: When `times` is below 1.
        """
        if times < 1:
            raise ValueError(f"A fault must be planned for at least 1 request, not {times}.")
        self._planned.extend([fault] * times)

    def take(self) -> Failure | Drop | None:
        """Return the fault of the request at hand, if it has one."""
        return self._planned.popleft() if self._planned else None
