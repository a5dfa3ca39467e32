"""Texts per second and CPU time of all contenders, each once per round."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

from contenders import Contender
from contenders.contender import TEXTS_PER_REQUEST, Rows
from stub import DIMENSION, Stub, vectors

_SERIAL_TEXTS = 150
"""Texts of a serial contender if there is latency, which takes nearly all of its time."""
_FIRST_FLOATS = [vector[0] for vector in vectors()]


@dataclass(frozen=True)
class Measurement:
    """The cost of one call.

    Attributes:
        rate: Texts per second of wall time.
        cpu: Seconds of CPU time of this process, all threads, per 1,000 texts.
    """

    rate: float
    cpu: float


Round: TypeAlias = dict[Contender, Measurement]


def make_texts(count: int) -> list[str]:
    """Return distinct texts of about 270 characters; duplicates would be sent only once."""
    passage = "The wind rises; we must try to live. " * 7
    return [f"Passage {number}. {passage}" for number in range(count)]


def measure(contender: Contender, root: str, count: int) -> Measurement:
    """Embed texts with one call of a new client, and check the vectors."""
    texts = make_texts(count)
    with contender.opened(root) as embed:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        rows = embed(texts)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    check(contender, rows, count)
    return Measurement(rate=count / wall, cpu=cpu / count * 1000)


def check(contender: Contender, rows: Rows, count: int) -> None:
    """Check that there is one complete vector per text, in order.

    Raises:
        ValueError: If there is not; figures for wrong vectors are worthless.
    """
    if len(rows) != count:
        raise ValueError(f"{contender.name} did not return {count} vectors.")
    for index, row in enumerate(rows):
        expected = _FIRST_FLOATS[index % TEXTS_PER_REQUEST]
        if row is None or len(row) != DIMENSION or not math.isclose(row[0], expected, rel_tol=1e-6):
            raise ValueError(f"{contender.name} returned a wrong vector for texts[{index}].")


def available(contenders: Iterable[Contender]) -> list[Contender]:
    """Return the contenders that can run, each warmed up, and print which cannot."""
    with Stub(latency=0) as stub:
        return [contender for contender in contenders if _runs(contender, stub.root)]


def _runs(contender: Contender, root: str) -> bool:
    return _attempt(contender, root, TEXTS_PER_REQUEST) is not None


def _attempt(contender: Contender, root: str, count: int) -> Measurement | None:
    """Measure, or print in one line why it is not possible."""
    try:
        return measure(contender, root, count)
    except Exception as error:  # peers raise many kinds
        print(f"Left out: {contender.name} ({type(error).__name__}: {first_line(error)})")
        return None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message."""
    return next(iter(str(error).splitlines()), "")


def run_rounds(
    contenders: Sequence[Contender], *, latency: float, rounds: int, texts: int
) -> list[Round]:
    """Measure each contender once per round, so that a slow minute of the machine affects all.

    Args:
        contenders: Those to measure.
        latency: Seconds that the stub takes for a response.
        rounds: How often each is measured.
        texts: Texts of a call, unless a contender gets fewer.
    """

    def count(contender: Contender) -> int:
        most = _SERIAL_TEXTS if contender.serial and latency else contender.texts
        return min(texts, most)

    measured: dict[Contender, list[Measurement]] = {each: [] for each in contenders}
    with Stub(latency=latency) as stub:
        for _ in range(rounds):
            for each in list(measured):
                measurement = _attempt(each, stub.root, count(each))
                if measurement is None:
                    del measured[each]
                else:
                    measured[each].append(measurement)
    return [{each: measured[each][number] for each in measured} for number in range(rounds)]


def rate(measurement: Measurement) -> float:
    """Return texts per second."""
    return measurement.rate


def cpu(measurement: Measurement) -> float:
    """Return CPU seconds per 1,000 texts."""
    return measurement.cpu


def middle(
    rounds: list[Round], contender: Contender, figure: Callable[[Measurement], float]
) -> float:
    """Return the median over the rounds of a figure."""
    return median(figure(each[contender]) for each in rounds)


def ratio(
    rounds: list[Round],
    contender: Contender,
    other: Contender,
    figure: Callable[[Measurement], float],
) -> float:
    """Return the median over the rounds of one contender's figure by another's.

    It is NaN if one of them was left out. It may differ from the ratio of the medians.
    """
    if not {contender, other} <= rounds[0].keys():
        return math.nan
    return median(figure(each[contender]) / figure(each[other]) for each in rounds)
