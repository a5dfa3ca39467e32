"""A question: its requests, what to observe in the responses, and the expected facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from conformance.calls import Request
from conformance.observations import Observe

Certainty = Literal["guess", "unknown", "one source", "documented"]
"""How certain the emulator's behaviour is: inferred, unknown, from one source, or documented."""

CERTAINTIES: tuple[Certainty, ...] = ("guess", "unknown", "one source", "documented")
"""The least certain first, which is the order of the questions."""


@dataclass(frozen=True)
class Question:
    """One comparison of the service and the emulator.

    Attributes:
        title: The question.
        requests: The requests, sent one after the other.
        observe: Extracts the facts from their responses.
        module: The module of the emulator to change if the service differs.
        certainty: How certain the emulator's behaviour is.
        expected: The documented values of facts. Other facts are compared with the emulator's.
        burst: How many copies of the first request to send at once; 0 to send all in turn.
    """

    title: str
    requests: tuple[Request, ...]
    observe: Observe
    module: str
    certainty: Certainty = "documented"
    expected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    burst: int = 0
