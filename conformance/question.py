"""What a question is: the calls that ask it, what is looked at in the answers, who claims what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from conformance.calls import Call
from conformance.observations import Observe

Mark = Literal["guess", "unknown", "one source", "documented"]
"""How well the answer is known: an inference, not at all, by one good source, confirmed."""

MARKS: tuple[Mark, ...] = ("guess", "unknown", "one source", "documented")
"""The least certain first, which is the order of asking."""


@dataclass(frozen=True)
class Question:
    """One thing that is asked of both the service and the emulator.

    Attributes:
        title: What is asked.
        calls: The requests that ask it, one after the other.
        observe: What is looked at in their answers.
        module: The module of the emulator that claims an answer.
        mark: How well the answer is known.
        expected: What the documentation says: the answers that are right for a fact. What it says
            nothing of is compared with what the emulator answers.
        burst: How often the first call is sent at one time; 0 for calls in turn.
    """

    title: str
    calls: tuple[Call, ...]
    observe: Observe
    module: str
    mark: Mark = "documented"
    expected: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    burst: int = 0
