"""What is sent, before anything is: texts checked, duplicates dropped, requests cut."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Literal

from qwen_embed.errors import InputError
from qwen_embed.protocols.base import MAX_BODY_BYTES

_NAMED_INDICES = 20


@dataclass(frozen=True)
class Plan:
    """Which texts are sent, and which text every row of the result belongs to.

    Attributes:
        unique: The texts to send, each once, in order of first appearance.
        sources: For each text that was given, its place in `unique`; -1 for a blank text, whose
            row is zeros. `None` where `unique` is what was given.
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
        empty_text: Whether a blank text is an error or gets a row of zeros. The service refuses
            empty texts, and strips a lone space to one.
        first: The place of the first text, where it is not 0: errors name texts by their place.

    Raises:
        InputError: If `texts` is no list, or any of them cannot be embedded; all are named.

    Example:
        >>> plan_texts(["a", "b", "a"])
        Plan(unique=['a', 'b'], sources=[0, 1, 0], count=3)
    """
    given = as_list(texts)
    blank = _check(given, blank_is_fault=empty_text == "error", first=first)
    unique = dict.fromkeys(given)
    if len(unique) == len(given) and not blank:
        return Plan(unique=given, sources=None, count=len(given))
    for index in blank:
        unique.pop(given[index], None)
    place = {text: index for index, text in enumerate(unique)}
    return Plan(
        unique=list(unique), sources=[place.get(text, -1) for text in given], count=len(given)
    )


def as_list(texts: Iterable[str]) -> list[str]:
    """Return texts as a list of plain str, where they are str at all.

    Raises:
        InputError: If they are no list of texts, such as a single str.
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


def _check(texts: list[str], *, blank_is_fault: bool, first: int) -> list[int]:
    """Return the indices of blank texts, or raise for all texts at fault at once."""
    blank: list[int] = []
    faults: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        if type(text) is not str:
            faults.setdefault(f"{type(text).__name__} instead of str", []).append(index)
        elif not text or text.isspace():
            blank.append(index)
        elif not _is_unicode(text):
            faults.setdefault("half a surrogate pair, which UTF-8 cannot hold", []).append(index)
        elif len(text) > MAX_BODY_BYTES:
            faults.setdefault("more than the 16 MiB that one request may have", []).append(index)
    if blank and blank_is_fault:
        faults["empty or blank; drop it, or set empty_text='zero' for a row of zeros"] = blank
    if faults:
        faults = {fault: [first + index for index in at] for fault, at in faults.items()}
        raise InputError(
            f"Nothing{f' from texts[{first}] on' if first else ''} was sent, because of "
            + "; ".join(f"{_named(at)}: {fault}" for fault, at in faults.items())
            + ".",
            indices=sorted(index for at in faults.values() for index in at),
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


def estimate_tokens(text: str) -> int:
    """Return an estimate of a text's tokens that errs upwards for prose.

    A token of the Qwen vocabulary holds four to five bytes of English or Chinese prose in UTF-8;
    the estimate counts one for every three.

    Example:
        >>> estimate_tokens("The wind rises; we must try to live.")
        12
    """
    return -(-(len(text) if text.isascii() else len(text.encode())) // 3)


class RequestQueue:
    """The requests still to be sent, cut only when asked for: a cap learnt meanwhile counts.

    Args:
        texts: The texts to send.
        indices: Those of them that are to be sent; all where not given.
        max_tokens: Most estimated tokens in one request; a longer text goes alone.

    Example:
        >>> queue = RequestQueue(["a", "b", "c"])
        >>> queue.take(2), queue.take(2), queue.take(2)
        ([0, 1], [2], None)
    """

    def __init__(
        self,
        texts: Sequence[str],
        *,
        indices: Sequence[int] | None = None,
        max_tokens: int | None = None,
    ) -> None:
        self._texts = texts
        self._max_tokens = max_tokens
        self._uncut: deque[int] = deque(range(len(texts)) if indices is None else indices)
        self._cut: deque[list[int]] = deque()

    def take(self, cap: int) -> list[int] | None:
        """Return the indices of the next request's texts, at most `cap`, or `None` at the end."""
        if self._cut:
            return self._cut.popleft()
        if self._max_tokens is None:
            uncut = self._uncut
            batch = [uncut.popleft() for _ in range(min(cap, len(uncut)))]
        else:
            batch = list(self._next(cap, self._max_tokens))
        return batch or None

    def _next(self, cap: int, max_tokens: int) -> Iterator[int]:
        tokens = 0
        for taken in range(min(cap, len(self._uncut))):
            tokens += estimate_tokens(self._texts[self._uncut[0]])
            if taken and tokens > max_tokens:
                return
            yield self._uncut.popleft()

    def requests(self, cap: int) -> int:
        """Return how many requests of at most `cap` texts are left, at least."""
        return len(self._cut) + -(-len(self._uncut) // cap)

    def put_back(self, batch: Sequence[int]) -> None:
        """Give back the texts of a request that was too large; they are cut anew."""
        self._uncut.extendleft(reversed(batch))

    def halve(self, batch: Sequence[int]) -> None:
        """Send the two halves of a request apart, to find the text at fault."""
        middle = len(batch) // 2
        self._cut.extendleft((list(batch[middle:]), list(batch[:middle])))

    def send_first(self, batch: Sequence[int]) -> None:
        """Send a request before all others, with no texts but these."""
        self._cut.appendleft(list(batch))

    def clear(self) -> None:
        """Send nothing more."""
        self._uncut.clear()
        self._cut.clear()

    def __len__(self) -> int:
        """Return how many texts are still to be sent."""
        return len(self._uncut) + sum(map(len, self._cut))
