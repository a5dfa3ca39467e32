"""Texts checked and duplicates dropped, before anything is sent or paid for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from qwen_embed.errors import InputError
from qwen_embed.protocols.base import MAX_BODY_BYTES

_NAMED_INDICES = 20


@dataclass(frozen=True)
class Plan:
    """Which texts are sent, and to which text each vector of the result belongs.

    Attributes:
        unique: The texts to send, each once, in order of first appearance.
        sources: For each text that was given, its position in `unique`; -1 for a blank text, whose
            vector is zeros. `None` if `unique` is the list that was given.
        count: How many texts were given.
    """

    unique: list[str]
    sources: list[int] | None
    count: int

    def counts(self) -> list[int]:
        """Return how often each unique text was given."""
        if self.sources is None:
            return [1] * len(self.unique)
        given = Counter(self.sources)
        return [given[index] for index in range(len(self.unique))]


def plan_texts(
    texts: Iterable[str], *, empty_text: Literal["error", "zero"] = "error", first: int = 0
) -> Plan:
    """Check all texts and drop duplicates, before anything is paid for.

    Args:
        texts: A list of str, or anything ordered that gives str.
        empty_text: Whether a blank text is an error or gets a vector of zeros. The service rejects
            empty texts, and strips a lone space to an empty text.
        first: The position of the first text in a stream, by which errors name it.

    Raises:
        InputError: If `texts` is not a list of texts, or some cannot be embedded; all are named.

    Example:
        >>> plan_texts(["a", "b", "a"])
        Plan(unique=['a', 'b'], sources=[0, 1, 0], count=3)
    """
    given = as_list(texts)
    blank = _check(given, blank_is_invalid=empty_text == "error", first=first)
    unique = dict.fromkeys(given)
    if len(unique) == len(given) and not blank:
        return Plan(unique=given, sources=None, count=len(given))
    for index in blank:
        unique.pop(given[index], None)
    positions = {text: index for index, text in enumerate(unique)}
    return Plan(
        unique=list(unique), sources=[positions.get(text, -1) for text in given], count=len(given)
    )


def as_list(texts: Iterable[str]) -> list[str]:
    """Return texts as a list; instances of subclasses of str become plain str.

    Raises:
        InputError: If they are not a list of texts but, for example, a single str.
    """
    if isinstance(texts, (str, bytes, bytearray)):
        raise InputError(
            f"texts must be a list of str, not one {type(texts).__name__}: "
            f"write [text], or embed_query(text) for a query."
        )
    if isinstance(texts, (Mapping, AbstractSet)) or not isinstance(texts, Iterable):
        raise InputError(f"texts must be a list of str, not {type(texts).__name__}.")
    # A str of a subclass (numpy's, an enum's) is sent as the characters it holds.
    return [
        str.__str__(text) if isinstance(text, str) and type(text) is not str else text
        for text in texts
    ]


def _check(texts: list[str], *, blank_is_invalid: bool, first: int) -> list[int]:
    """Return the indices of blank texts, or raise one error for all invalid texts."""
    blank: list[int] = []
    invalid: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        if type(text) is not str:
            invalid.setdefault(f"{type(text).__name__} instead of str", []).append(index)
        elif not text or text.isspace():
            blank.append(index)
        elif not _is_unicode(text):
            invalid.setdefault("an unpaired surrogate (not valid UTF-8)", []).append(index)
        elif len(text) > MAX_BODY_BYTES:
            invalid.setdefault("larger than the 16 MiB that one request may have", []).append(index)
    if blank and blank_is_invalid:
        invalid["empty or blank; remove it, or set empty_text='zero' to get a vector of zeros"] = (
            blank
        )
    if invalid:
        invalid = {reason: [first + index for index in at] for reason, at in invalid.items()}
        raise InputError(
            f"Nothing{f' from texts[{first}] on' if first else ''} was sent: "
            + "; ".join(f"{_named(at)}: {reason}" for reason, at in invalid.items())
            + ".",
            indices=sorted(index for at in invalid.values() for index in at),
        )
    return blank


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _named(indices: Sequence[int]) -> str:
    named = ", ".join(f"texts[{index}]" for index in indices[:_NAMED_INDICES])
    more = len(indices) - _NAMED_INDICES
    return f"{named} and {more} more" if more > 0 else named
