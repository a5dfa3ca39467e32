"""Parses the bytes of a response and checks the values: JSON, numbers, dense vectors.

`parse_json` defines the result. A faster parser returns the same, or leaves the body to it.
"""

from __future__ import annotations

import codecs
import json
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
import numpy as np
import orjson

from qwen_embed.errors import InvalidResponseError, MalformedResponseError
from qwen_embed.protocols.base import DenseRow

try:
    import simdjson
except ImportError:  # no wheel for this Python
    simdjson = None  # type: ignore[assignment]

T = TypeVar("T")

FLOAT32_LIMIT = 2.0**128 - 2.0**103
"""The least number that float32 rounds to infinity."""

TokenCount = Annotated[int, msgspec.Meta(ge=0)]
_FLOATS = list[float]
_MAX_MEMBERS = 64
"""Of an object that simdjson parses; it searches for each member from the first one on."""


def parse_json(body: bytes) -> Any:
    """Return the value of a body; if an object has a member twice, the last one counts.

    Integers of more than 64 bits become floats.

    Raises:
        InvalidResponseError: If the body is complete but has a number outside the range of floats,
            an unpaired surrogate, or more than 1,024 levels.
        MalformedResponseError: If the body is not complete JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _is_complete(body):
            raise InvalidResponseError(f"The response cannot be parsed: {error}.") from None
        raise MalformedResponseError(f"The response is not complete JSON: {error}.") from None


def parse_arrays(body: bytes) -> Any:
    """Return what `parse_json` returns, with dense vectors as arrays of float64.

    With simdjson installed it takes two thirds of the time. A body that simdjson would parse
    differently, or not at all, is left to `parse_json`.
    """
    if simdjson is None or not _has_more(body, b"[", 1):  # vectors as base64 gain nothing
        return parse_json(body)
    if body.startswith(codecs.BOM_UTF8):  # which simdjson skips
        return parse_json(body)
    tree = _Tree()
    try:
        value = tree.read(simdjson.Parser().parse(body))
    except (ValueError, TypeError, LookupError, RuntimeError):
        return parse_json(body)
    # An array that was not visited is nested in a dense vector, into which `as_buffer` flattens it.
    return parse_json(body) if _has_more(body, b"[", tree.arrays) else value


class _Tree:
    """Converts the values of simdjson to Python's.

    Attributes:
        arrays: The number of arrays visited.
    """

    def __init__(self) -> None:
        self.arrays = 0

    def read(self, node: Any, name: str = "") -> Any:
        if isinstance(node, simdjson.Object):
            size = len(node)
            if size > _MAX_MEMBERS:
                raise LookupError("too many members")
            members = {each: self.read(node[each], each) for each in node}
            if len(members) < size:
                raise LookupError("a duplicate member")  # of which simdjson uses the first
            return members
        if not isinstance(node, simdjson.Array):
            return node
        self.arrays += 1
        if name == "embedding":
            return np.frombuffer(node.as_buffer(of_type="d"))
        return [self.read(each) for each in node]


def _has_more(body: bytes, character: bytes, count: int) -> bool:
    """Return whether a character occurs more than `count` times.

    A few searches take a tenth of the time of `bytes.count`.
    """
    at = -1
    for _ in range(count + 1):
        at = body.find(character, at + 1)
        if at < 0:
            return False
    return True


def _is_complete(body: bytes) -> bool:
    try:
        json.loads(body.decode(), parse_int=float, parse_constant=_reject_constant)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity, which Python accepts and JSON does not have


def checked(value: Any, expected: type[T], what: object = "The response") -> T:
    """Return a parsed value as an object of the expected type.

    Args:
        value: What `parse_json` returned, or a part of it.
        expected: A type that msgspec knows.
        what: What the value is, for the error's message.

    Raises:
        InvalidResponseError: If it is not of that type.
    """
    try:
        return msgspec.convert(value, expected)
    except msgspec.ValidationError as error:
        raise InvalidResponseError(f"{what} is invalid: {error}.") from None


def checked_row(row: Any, what: object) -> DenseRow:
    """Return a dense vector whose values are all finite numbers.

    Args:
        row: An array of `parse_arrays`, or a list, whose integers become floats.
        what: What it is, for the error's message.

    Raises:
        InvalidResponseError: If a value is not a number.
    """
    return row if isinstance(row, np.ndarray) else checked(row, _FLOATS, what)
