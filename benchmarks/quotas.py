"""What clients make of a quota: how much they use, what is throttled, and which texts are lost.

Every client has a process and a service of its own, and all run side by side: they wait most of the
time. Rows are short, so that it is the quota that bounds them.
"""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

import msgspec
from contenders import DASHSCOPE, OPENAI, OPENAI_LIKE, RUST_ARRAY, SDK_THREADS, SYNC
from contenders.contender import TEXTS_PER_REQUEST
from quota_client import Done, Ready, Task
from stub import Stub

PEERS = (RUST_ARRAY, SDK_THREADS, DASHSCOPE, OPENAI, OPENAI_LIKE)
RATES = (30, 100)
DEPTHS = (5, 50)
LATENCY = 0.1
DIMENSION = 64
UNLISTED_MODEL = "text-embedding-next"
"""A model that no table names, so that no published quota can be known for it."""

Knowledge: TypeAlias = Literal["configured", "unknown", "second call", "peer"]

_PATIENCE = 2.0
"""A call is cut off after so many times what it should take."""
_START_SECONDS = 120.0
_SERIAL_SHARE = 1 / (RATES[0] * LATENCY)
"""One request after the other, a third of them already takes all the time."""


@dataclass(frozen=True)
class Case:
    """One client under one quota.

    Attributes:
        contender: The name of the contender.
        rate: Requests per second of the quota.
        depth: Requests that it lets through at once.
        knowledge: What the client knows of it.
        options: More options of the client.
        behaviour: What else the service does, as arguments of `Stub`.
        note: The same in words.
        share: How much of the requests the client can send in the time.
    """

    contender: str
    rate: int
    depth: int
    knowledge: Knowledge
    options: Mapping[str, int | str] = field(default_factory=dict, hash=False)
    behaviour: Mapping[str, Any] = field(default_factory=dict, hash=False)
    note: str = ""
    share: float = 1.0

    def texts(self, seconds: float) -> int:
        """Return the texts of a call that should take so many seconds."""
        return round(self.rate * seconds * self.share) * TEXTS_PER_REQUEST


@dataclass(frozen=True)
class Outcome:
    """What became of a call.

    Attributes:
        used: Successes per second over the quota's rate. A full bucket at the start lets more than
            1 through.
        throttled: The share of requests that were throttled.
        lost: Texts without a vector at the end of the call; NaN where it was cut off.
    """

    used: float
    throttled: float
    lost: float


def cases() -> list[Case]:
    """Return all cases but those of second calls, which come of the same processes."""
    configured = [
        Case(SYNC.name, rate, depth, "configured", {"requests_per_minute": rate * 60})
        for rate in RATES
        for depth in DEPTHS
    ]
    cold = [_cold(rate, depth) for rate in RATES for depth in DEPTHS]
    harder = [
        _cold(30, 5, "Retry-After: 1", retry_after=1),
        _cold(30, 5, "throttling costs quota too", throttling_costs=True),
        _cold(30, 5, "fixed windows of 1 s", window=1.0),
    ]
    peers = [
        Case(peer.name, RATES[0], depth, "peer", share=_SERIAL_SHARE if peer.serial else 1.0)
        for peer in PEERS
        for depth in DEPTHS
    ]
    return configured + cold + harder + peers


def _cold(rate: int, depth: int, note: str = "", **behaviour: Any) -> Case:
    options = {"model": UNLISTED_MODEL}
    return Case(SYNC.name, rate, depth, "unknown", options, behaviour, note)


def run_rounds(*, seconds: float, rounds: int) -> dict[Case, list[Outcome]]:
    """Run all cases side by side, once a round.

    Args:
        seconds: What a call should take at the whole quota.
        rounds: How often.

    Returns:
        The outcomes of each case that could run, second calls as cases of their own.
    """
    outcomes: dict[Case, list[Outcome]] = {}
    for number in range(rounds):
        for case, outcome in _run_round(cases(), seconds, tell=number == 0).items():
            outcomes.setdefault(case, []).append(outcome)
    return outcomes


class _Client:
    """A client process and the service that it asks."""

    def __init__(self, case: Case, seconds: float, stub: Stub, process: subprocess.Popen[str]):
        self.case = case
        self._seconds = seconds
        self._stub = stub
        self._process = process

    def ready(self) -> Ready:
        """Wait until it may embed."""
        line = self._line(_START_SECONDS)
        return msgspec.json.decode(line, type=Ready) if line else Ready("it did not start")

    def run(self) -> dict[Case, Outcome]:
        """Let it embed: once, or twice where what it has learnt counts."""
        first = self._call()
        if self.case.knowledge != "unknown" or self.case.behaviour:
            return {self.case: first}
        # One that was cut off makes no second call.
        second = Outcome(0.0, 0.0, math.nan) if math.isnan(first.lost) else self._call()
        return {self.case: first, second_call(self.case): second}

    def _call(self) -> Outcome:
        before = self._stub.statistics()
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        limit = self._seconds * _PATIENCE
        line = self._line(limit)
        done = msgspec.json.decode(line, type=Done) if line else Done(limit, lost=0)
        after = self._stub.statistics()
        served, throttled = after.served - before.served, after.throttled - before.throttled
        return Outcome(
            used=served / done.seconds / self.case.rate,
            throttled=throttled / max(1, served + throttled),
            lost=done.lost if line else math.nan,
        )

    def _line(self, limit: float) -> str:
        assert self._process.stdout is not None
        timer = threading.Timer(limit, self._process.kill)
        timer.start()
        try:
            return self._process.stdout.readline()
        finally:
            timer.cancel()


def second_call(case: Case) -> Case:
    """Return the second call of an unknown quota as a case of its own."""
    return Case(case.contender, case.rate, case.depth, "second call", case.options)


@contextmanager
def _opened(case: Case, seconds: float) -> Iterator[_Client]:
    behaviour = {"latency": LATENCY, "dimension": DIMENSION, **case.behaviour}
    with Stub(quota=case.rate, depth=case.depth, **behaviour) as stub:
        task = Task(case.contender, stub.root, case.texts(seconds), case.options)
        script = Path(__file__).with_name("quota_client.py")
        process = subprocess.Popen(
            [sys.executable, str(script), msgspec.json.encode(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield _Client(case, seconds, stub, process)
        finally:
            process.kill()
            process.communicate()


def _run_round(all_cases: Sequence[Case], seconds: float, *, tell: bool) -> dict[Case, Outcome]:
    with ExitStack() as stack:
        clients = [stack.enter_context(_opened(case, seconds)) for case in all_cases]
        unusable = {client: client.ready().unusable for client in clients}
        ready = [client for client, reason in unusable.items() if not reason]
        if tell:
            _tell({client.case: reason for client, reason in unusable.items() if reason})
        # All start at once, when none is loading anything any more.
        with ThreadPoolExecutor(max(1, len(ready))) as pool:
            outcomes = pool.map(_Client.run, ready)
            return {case: outcome for each in outcomes for case, outcome in each.items()}


def _tell(left_out: Mapping[Case, str]) -> None:
    """Say who is left out, once for all quotas."""
    reasons = {f"{each.contender}, {each.knowledge}": why for each, why in left_out.items()}
    for name, why in reasons.items():
        print(f"Left out under a quota: {name} ({why})")


def name_of(case: Case) -> str:
    """Return a case in words."""
    knowledge = "" if case.knowledge == "peer" else f", {case.knowledge}"
    note = f", {case.note}" if case.note else ""
    return f"{case.contender}{knowledge}, {case.rate}/s, bucket {case.depth}{note}"


def middle(outcomes: Sequence[Outcome]) -> Outcome:
    """Return the medians of outcomes; the most that were ever lost, which no median may hide."""
    lost = [each.lost for each in outcomes]
    return Outcome(
        used=median(each.used for each in outcomes),
        throttled=median(each.throttled for each in outcomes),
        lost=math.nan if any(map(math.isnan, lost)) else max(lost),
    )
