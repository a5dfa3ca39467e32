"""What is seen in raw answers: pure functions from answers to facts that can be compared.

A fact is a name and a few words. What differs from one vocabulary or one trained model to another
(numbers of tokens, the values themselves) is no fact; where it is worth reading, it is a note.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.calls import Reply

Facts = dict[str, str]

WORDS = "words"
"""The end of the name of a fact that is a message: told apart, since clients never go by it."""

OUTCOME = ("answer", "status", "code", WORDS, "shape")
"""The ends of the names of facts that tell how a request ended."""

_CAP = re.compile(r"larger than (\d+)")
_RANGE = re.compile(r"Range of input length should be \[\d+, (\d+)\]")
_NEARLY = 0.9999
_UNIT = 1e-3


@dataclass(frozen=True)
class Observation:
    """What was seen in the answers to one question.

    Attributes:
        facts: What is compared.
        notes: What is only told.
    """

    facts: Facts
    notes: Facts = field(default_factory=dict)


Observe = Callable[[Sequence[Reply]], Observation]


def yes(condition: object) -> str:
    """Return the word for a condition."""
    return "yes" if condition else "no"


def outcome(reply: Reply, label: str = "") -> Facts:
    """Return how an answer ended: its status and, for a refusal, code and message."""
    if reply.fault:
        facts = {"answer": reply.fault}
    elif reply.succeeded:
        facts = {"status": str(reply.status)}
    else:
        facts = {"status": str(reply.status), "code": reply.code, WORDS: reply.message}
    return {f"{label} {name}".strip(): value for name, value in facts.items()}


def outcomes(*labels: str) -> Observe:
    """Return what tells how each of several answers ended, each under its label."""

    def observe(replies: Sequence[Reply]) -> Observation:
        facts: Facts = {}
        for label, reply in zip(labels or ("",), replies, strict=True):
            facts |= outcome(reply, label)
        return Observation(facts)

    return observe


def of_success(observe: Observe) -> Observe:
    """Return what observes answers that all carry vectors, and else tells how they ended."""

    def guarded(replies: Sequence[Reply]) -> Observation:
        if not all(reply.succeeded for reply in replies):
            labels = (
                [""] if len(replies) == 1 else [f"request {n + 1}" for n in range(len(replies))]
            )
            return outcomes(*labels)(replies)
        try:
            seen = observe(replies)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return Observation({"status": "200", "shape": f"not as promised: {error!r}"})
        return Observation({"status": "200", **seen.facts}, seen.notes)

    return guarded


def refusal_shape(reply: Reply) -> Facts:
    """Return how a refusal ended and which names its body has."""
    return {**outcome(reply), "names in the body": names(reply.json)}


def cap_named(reply: Reply) -> str:
    """Return the most texts that a refusal names."""
    found = _CAP.search(reply.message)
    return found[1] if found else "none"


def length_named(reply: Reply) -> str:
    """Return the most tokens of a text that a refusal names."""
    found = _RANGE.search(reply.message)
    return found[1] if found else "none"


def names(answer: Any) -> str:
    """Return the names in an object, those of an `error` within it included.

    Example:
        >>> names({"request_id": "7", "error": {"type": "a", "message": "b"}})
        'error(message, type), request_id'
    """
    if not isinstance(answer, Mapping):
        return "no object"
    inner = answer.get("error")
    error = f"error({names(inner)})" if isinstance(inner, Mapping) else "error"
    return ", ".join(error if name == "error" else name for name in sorted(answer))


def rows(reply: Reply) -> list[Mapping[str, Any]]:
    """Return the rows of a success as they came, by either protocol."""
    answer = reply.json
    found = answer["output"]["embeddings"] if "output" in answer else answer["data"]
    return list(found)


def index_of(row: Mapping[str, Any]) -> int:
    """Return the number of the text that a row belongs to."""
    return int(row["text_index"] if "text_index" in row else row["index"])


def dense(reply: Reply) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the dense rows in the order of the texts, shape `(texts, dimension)`."""
    vectors = [_floats(row["embedding"]) for row in sorted(rows(reply), key=index_of)]
    return np.asarray(vectors, dtype=np.float64)


def _floats(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4")
    return embedding


def entries(reply: Reply, text_index: int = 0) -> list[Mapping[str, Any]]:
    """Return the entries of one text's sparse vector as they came."""
    [row] = [row for row in rows(reply) if index_of(row) == text_index]
    return list(row["sparse_embedding"])


def dense_alike(first: Reply, second: Reply) -> str:
    """Return whether two answers' first dense rows are alike: exactly, nearly or no."""
    one, other = dense(first)[0], dense(second)[0]
    if one.shape != other.shape:
        return "no"
    if np.array_equal(one, other):
        return "exactly"
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return "nearly" if cosine >= _NEARLY else "no"


def sparse_alike(first: Reply, second: Reply) -> str:
    """Return whether two answers' first sparse rows are alike: exactly, nearly or no."""
    one, other = (
        {entry["index"]: float(entry["value"]) for entry in entries(reply)}
        for reply in (first, second)
    )
    if one == other:
        return "exactly"
    if one.keys() != other.keys():
        return "no"
    return "nearly" if all(abs(one[index] - other[index]) < 0.01 for index in one) else "no"


def same_indices(first: Reply, second: Reply) -> str:
    """Return whether two answers' first sparse rows have the same indices."""
    one, other = ({entry["index"] for entry in entries(reply)} for reply in (first, second))
    return yes(one == other)


def length(reply: Reply) -> str:
    """Return the length of the dense rows and whether they are unit vectors."""
    vectors = dense(reply)
    unit = abs(np.linalg.norm(vectors, axis=1) - 1).max() < _UNIT
    return f"{vectors.shape[1]} numbers, {'unit' if unit else 'not unit'} length"


def norm(reply: Reply) -> str:
    """Return the length of the first dense row as a vector."""
    return f"{np.linalg.norm(dense(reply)[0]):.6f}"


def success_shape(reply: Reply) -> Facts:
    """Return the form of a success with dense rows: names, types, order, kind of content."""
    answer, found = reply.json, rows(reply)
    indices = [index_of(row) for row in found]
    vectors = dense(reply)
    return {
        "names in the body": names(answer),
        "names in a row": ", ".join(sorted({name for row in found for name in row})),
        "names in usage": ", ".join(sorted(answer["usage"])),
        "a row for each text": yes(sorted(indices) == list(range(len(found)))),
        "rows in the order of the texts": yes(indices == sorted(indices)),
        "numbers are single precision": yes(
            np.array_equal(vectors.astype(np.float32).astype(np.float64), vectors)
        ),
        "kind of content": media_type(reply),
    }


def media_type(reply: Reply) -> str:
    """Return the kind of content that an answer says it has, without its parameters."""
    return reply.headers.get("content-type", "none").partition(";")[0].strip().lower()


def sparse_shape(reply: Reply, text: str, vocabulary: int, largest: float) -> Observation:
    """Return the form of the first sparse row.

    Args:
        reply: The answer.
        text: The text, in lower case.
        vocabulary: The number below which every index is said to be.
        largest: The value that none is said to exceed.
    """
    found = entries(reply)
    indices = [entry["index"] for entry in found]
    values = [entry["value"] for entry in found]
    places = [text.find(str(entry["token"]).strip(" ▁Ġ").lower()) for entry in found]
    in_text = [place for place in places if place >= 0]
    return Observation(
        {
            "names in an entry": ", ".join(sorted({name for entry in found for name in entry})),
            "an index is repeated": yes(len(set(indices)) < len(indices)),
            f"indices are whole numbers below {vocabulary}": yes(
                all(isinstance(index, int) and 0 <= index < vocabulary for index in indices)
            ),
            f"values are above 0 and at most {largest}": yes(
                all(0 < value <= largest for value in values)
            ),
            "entries in the order of the text": yes(in_text == sorted(in_text)),
        },
        {
            "entries": str(len(found)),
            "indices": f"{min(indices)} to {max(indices)}",
            "values": f"{min(values)} to {max(values)}",
            "values above 1": str(sum(value > 1 for value in values)),
            "tokens": " ".join(str(entry["token"]) for entry in found),
        },
    )
