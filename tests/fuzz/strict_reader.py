"""A slow reader of answers that is obviously right: what every other one is compared with."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn


class NotWholeError(Exception):
    """Not whole JSON."""


class NoAnswerError(Exception):
    """Whole, but no answer."""


class RefusedError(Exception):
    """A refusal that came with 200."""


@dataclass(frozen=True)
class Read:
    """An answer's rows as Python floats and sparse rows as lists of entries, and what it says."""

    tokens: int
    request_id: str | None
    dense: list[list[float]] = field(default_factory=list)
    sparse: list[list[tuple[int, float]]] = field(default_factory=list)


class _Json:
    """One body, with what the grammar has and no float or UTF-8 can hold."""

    def __init__(self) -> None:
        self.unreadable: list[str] = []

    def number(self, printed: str) -> float:
        value = float(printed)
        if math.isinf(value):
            self.unreadable.append(printed)
        return value

    def integer(self, printed: str) -> float | int:
        small = len(printed) < 25 and -(2**63) <= int(printed) < 2**64
        return int(printed) if small else self.number(printed)

    def members(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for name, value in pairs:
            self.strings([name, value])
        return dict(pairs)

    def strings(self, value: Any) -> None:
        if isinstance(value, list):
            for each in value:
                self.strings(each)
        elif isinstance(value, str) and re.search("[\ud800-\udfff]", value):
            self.unreadable.append(value)


def _no_constant(name: str) -> NoReturn:
    raise NotWholeError(name)


def strict_json(body: bytes) -> Any:
    """Return the value of a body, of repeated members the last."""
    found = _Json()
    try:
        text = body.decode("utf-8")
        with room_for_recursion():
            value = json.loads(
                text,
                object_pairs_hook=found.members,
                parse_float=found.number,
                parse_int=found.integer,
                parse_constant=_no_constant,
            )
            found.strings(value)
    except ValueError as error:
        raise NotWholeError(str(error)) from None
    if found.unreadable or levels(text) > 1024:
        raise NoAnswerError
    return value


@contextmanager
def room_for_recursion() -> Iterator[None]:
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(5000)
    try:
        yield
    finally:
        sys.setrecursionlimit(usual)


def levels(text: str) -> int:
    """Return how deep arrays and objects are nested."""
    deepest = level = 0
    for bracket in re.sub(r'"(?:\\.|[^"\\])*"', "", text):
        level += (bracket in "[{") - (bracket in "]}")
        deepest = max(deepest, level)
    return deepest


def need(condition: bool, why: str = "") -> None:
    if not condition:
        raise NoAnswerError(why)


def is_integer(value: Any) -> bool:
    return type(value) is int


def is_count(value: Any) -> bool:
    return value is None or (type(value) is int and value >= 0)


def strict_order(rows: list[Any], index_name: str, count: int) -> list[Any]:
    need(sorted(row[index_name] for row in rows) == list(range(count)), "indices")
    return sorted(rows, key=lambda row: row[index_name])


def strict_numbers(row: Any) -> list[float]:
    need(type(row) is list and all(type(value) in (int, float) for value in row), "numbers")
    return [float(value) for value in row]


def need_lengths(rows: list[list[float]], dimension: int | None) -> None:
    due = dimension or len(rows[0])
    need(due > 0 and all(len(row) == due for row in rows), "lengths")


def strict_native(body: bytes, count: int, dimension: int | None, output: str) -> Read:
    answer = strict_json(body)
    need(type(answer) is dict)
    found, usage = answer.get("output"), answer.get("usage")
    for name in ("request_id", "code"):
        need(type(answer.get(name, "")) in (str, type(None)), name)
    need(usage is None or (type(usage) is dict and is_count(usage.get("total_tokens"))), "usage")
    need(found is None or (type(found) is dict and type(found.get("embeddings")) is list))
    rows = found["embeddings"] if found else []
    need(all(type(row) is dict and is_integer(row.get("text_index")) for row in rows), "rows")
    if answer.get("code"):
        raise RefusedError
    need(found is not None, "output")
    rows = strict_order(rows, "text_index", count)
    dense, sparse = [], []
    if output != "sparse":
        dense = [strict_numbers(row.get("embedding", [])) for row in rows]
        need_lengths(dense, dimension)
    if output != "dense":
        sparse = [strict_entries(row.get("sparse_embedding")) for row in rows]
    tokens = (usage or {}).get("total_tokens") or 0
    return Read(tokens, answer.get("request_id"), dense, sparse)


def strict_entries(entries: Any) -> list[tuple[int, float]]:
    need(type(entries) is list and all(type(entry) is dict for entry in entries), "entries")
    largest: dict[int, float] = {}
    for entry in entries:
        index, value = entry.get("index"), entry.get("value")
        need(is_integer(index) and 0 <= index < 2**32 - 1, "index")
        need(type(value) in (int, float) and value >= 0, "value")
        need(type(entry.get("token", "")) is str, "token")
        largest[index] = max(float(value), largest.get(index, 0.0))
    return [(index, as_float32(largest[index])) for index in sorted(largest)]


def as_float32(value: float) -> float:
    try:
        return float(struct.unpack("<f", struct.pack("<f", value))[0])
    except OverflowError:
        raise NoAnswerError("float32") from None


def strict_compatible(body: bytes, count: int, dimension: int | None, truncate: bool) -> Read:
    answer = strict_json(body)
    need(type(answer) is dict)
    rows, usage = answer.get("data"), answer.get("usage")
    for name in ("id", "code"):
        need(type(answer.get(name)) in (str, int, type(None)), name)
    need(usage is None or type(usage) is dict, "usage")
    counts = [(usage or {}).get(name) for name in ("total_tokens", "prompt_tokens")]
    need(all(map(is_count, counts)), "counts")
    need(rows is None or type(rows) is list)
    for row in rows or []:
        need(type(row) is dict and is_integer(row.get("index")) and "embedding" in row, "row")
    if answer.get("error") is not None or (answer.get("code") and rows is None):
        raise RefusedError
    need(rows is not None, "data")
    dense = [strict_vector(row["embedding"]) for row in strict_order(rows, "index", count)]
    if truncate and dimension is not None:
        need_lengths(dense, None)
        dense = [unit(row[:dimension]) for row in dense]
    need_lengths(dense, dimension)
    name = answer.get("id")
    return Read(counts[0] or counts[1] or 0, None if name is None else str(name), dense)


BASE64 = re.compile(
    "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?", flags=re.ASCII
)


def strict_vector(embedding: Any) -> list[float]:
    if type(embedding) is not str:
        return strict_numbers(embedding)
    need(BASE64.fullmatch(embedding) is not None, "base64")
    packed = base64.b64decode(embedding)
    need(len(packed) % 4 == 0, "bytes")
    row = [value for (value,) in struct.iter_unpack("<f", packed)]
    need(all(map(math.isfinite, row)), "finite")
    return row


def unit(row: list[float]) -> list[float]:
    largest = max(map(abs, row))
    scaled = [value / (largest or 1.0) for value in row]
    norm = math.hypot(*scaled) or 1.0
    return [value / norm for value in scaled]
