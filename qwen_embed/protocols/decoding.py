"""An answer's bytes as checked values: what is JSON, what is a number, what is a dense row.

Whatever reads an answer in a faster way reads it as this module does, or leaves it to this module.
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
_MOST_MEMBERS = 64
"""Of an object that is left to simdjson, which looks for each of them from the first one on."""


def parse_json(body: bytes) -> Any:
    """Return the value of a body; where an object names a member twice, the last one counts.

    Integers beyond 64 bits become floats.

    Raises:
        InvalidResponseError: If the body is whole but has a number that no float can hold, an
            unpaired surrogate, or more than 1,024 levels.
        MalformedResponseError: If the body is not whole JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if _is_whole(body):
            raise InvalidResponseError(f"The answer cannot be read: {error}.") from None
        raise MalformedResponseError(f"The answer is not whole JSON: {error}.") from None


def parse_arrays(body: bytes) -> Any:
    """Return what `parse_json` returns, with dense rows as arrays of float64.

    It takes two thirds of the time where simdjson is installed. A body that simdjson might read in
    another way, or not at all, is left to `parse_json`.
    """
    if simdjson is None or not _has_more(body, b"[", 1):  # rows as base64 gain nothing
        return parse_json(body)
    if body.startswith(codecs.BOM_UTF8):  # which simdjson skips
        return parse_json(body)
    tree = _Tree()
    try:
        value = tree.read(simdjson.Parser().parse(body))
    except (ValueError, TypeError, LookupError, RuntimeError):
        return parse_json(body)
    # An array that was not met is within a dense row: `as_buffer` puts its numbers among the row's.
    return parse_json(body) if _has_more(body, b"[", tree.arrays) else value


class _Tree:
    """Makes Python values of simdjson's.

    Attributes:
        arrays: How many arrays it has met.
    """

    def __init__(self) -> None:
        self.arrays = 0

    def read(self, node: Any, name: str = "") -> Any:
        if isinstance(node, simdjson.Object):
            size = len(node)
            if size > _MOST_MEMBERS:
                raise LookupError("too many members")
            members = {each: self.read(node[each], each) for each in node}
            if len(members) < size:
                raise LookupError("a member named twice")  # of which simdjson takes the first
            return members
        if not isinstance(node, simdjson.Array):
            return node
        self.arrays += 1
        if name == "embedding":
            return np.frombuffer(node.as_buffer(of_type="d"))
        return [self.read(each) for each in node]


def _has_more(body: bytes, character: bytes, count: int) -> bool:
    """Return whether a character that occurs at least `count` times occurs once more.

    A few searches take a tenth of the time of `bytes.count`.
    """
    at = -1
    for _ in range(count + 1):
        at = body.find(character, at + 1)
        if at < 0:
            return False
    return True


def _is_whole(body: bytes) -> bool:
    try:
        json.loads(body.decode(), parse_int=float, parse_constant=_refuse_constant)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity, which Python takes and JSON does not have


def checked(value: Any, form: type[T], what: object = "The answer") -> T:
    """Return a parsed value in the form that was promised.

    Args:
        value: What `parse_json` returned, or a part of it.
        form: A type that msgspec knows.
        what: What the value is, for the error's message.

    Raises:
        InvalidResponseError: If it is not of that form.
    """
    try:
        return msgspec.convert(value, form)
    except msgspec.ValidationError as error:
        raise InvalidResponseError(f"{what} is not of the promised form: {error}.") from None


def checked_row(row: Any, what: object) -> DenseRow:
    """Return a dense row of which every value is a finite number.

    Args:
        row: An array of `parse_arrays`, or a list, of which whole numbers become floats.
        what: What it is, for the error's message.

    Raises:
        InvalidResponseError: If any value is no number.
    """
    return row if isinstance(row, np.ndarray) else checked(row, _FLOATS, what)
