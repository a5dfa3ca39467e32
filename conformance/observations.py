"""Pure functions from raw responses to facts that can be compared.

A fact is a name and a short value. Whatever depends on the vocabulary or the trained model (token
counts, the numbers of a vector) is not compared; it can be a note.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.calls import Response

Facts = dict[str, str]

MESSAGE = "message"
"""The suffix of facts that are messages: a separate verdict, because clients do not parse them."""

OUTCOME = ("response", "status", "code", MESSAGE, "shape")
"""The suffixes of facts that describe the outcome of a request."""

_CAP = re.compile(r"larger than (\d+)")
_RANGE = re.compile(r"Range of input length should be \[\d+, (\d+)\]")
_NEARLY = 0.9999
_UNIT = 1e-3


@dataclass(frozen=True)
class Observation:
    """What was observed in the responses to one question.

    Attributes:
        facts: Compared.
        notes: Only reported.
    """

    facts: Facts
    notes: Facts = field(default_factory=dict)


Observe = Callable[[Sequence[Response]], Observation]


def yes(condition: object) -> str:
    """Return `yes` or `no`."""
    return "yes" if condition else "no"


def outcome(response: Response, label: str = "") -> Facts:
    """Return the outcome: the status, and code and message of an error."""
    if response.error:
        facts = {"response": f"none ({response.error})"}
    elif response.succeeded:
        facts = {"status": str(response.status)}
    else:
        facts = {"status": str(response.status), "code": response.code, MESSAGE: response.message}
    return {f"{label} {name}".strip(): value for name, value in facts.items()}


def outcomes(*labels: str) -> Observe:
    """Return a function that observes the outcome of each response, under its label."""

    def observe(responses: Sequence[Response]) -> Observation:
        facts: Facts = {}
        for label, response in zip(labels or ("",), responses, strict=True):
            facts |= outcome(response, label)
        return Observation(facts)

    return observe


def of_success(observe: Observe) -> Observe:
    """Apply `observe` if all responses succeeded; otherwise observe only their outcomes."""

    def guarded(responses: Sequence[Response]) -> Observation:
        if not all(response.succeeded for response in responses):
            labels = (
                [""] if len(responses) == 1 else [f"request {n + 1}" for n in range(len(responses))]
            )
            return outcomes(*labels)(responses)
        try:
            observed = observe(responses)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            return Observation({"status": "200", "shape": f"unexpected format: {error!r}"})
        return Observation({"status": "200", **observed.facts}, observed.notes)

    return guarded


def error_shape(response: Response) -> Facts:
    """Return the outcome of an error response and the keys of its body."""
    return {**outcome(response), "keys of the body": keys(response.json)}


def cap_named(response: Response) -> str:
    """Return the cap on texts that an error message names."""
    found = _CAP.search(response.message)
    return found[1] if found else "none"


def length_named(response: Response) -> str:
    """Return the token limit of a text that an error message names."""
    found = _RANGE.search(response.message)
    return found[1] if found else "none"


def keys(body: Any) -> str:
    """Return the keys of an object, including those of its `error`.

    Example:
        >>> keys({"request_id": "7", "error": {"type": "a", "message": "b"}})
        'error(message, type), request_id'
    """
    if not isinstance(body, Mapping):
        return "no object"
    inner = body.get("error")
    error = f"error({keys(inner)})" if isinstance(inner, Mapping) else "error"
    return ", ".join(error if name == "error" else name for name in sorted(body))


def items(response: Response) -> list[Mapping[str, Any]]:
    """Return the items of a success in the order received, in either protocol."""
    body = response.json
    found = body["output"]["embeddings"] if "output" in body else body["data"]
    return list(found)


def index_of(item: Mapping[str, Any]) -> int:
    """Return the index of the text of an item."""
    return int(item["text_index"] if "text_index" in item else item["index"])


def dense(response: Response) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the dense vectors in the order of the texts, shape `(texts, dimension)`."""
    vectors = [_floats(item["embedding"]) for item in sorted(items(response), key=index_of)]
    return np.asarray(vectors, dtype=np.float64)


def _floats(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), dtype="<f4")
    return embedding


def entries(response: Response, text_index: int = 0) -> list[Mapping[str, Any]]:
    """Return the entries of one text's sparse vector in the order received."""
    [item] = [item for item in items(response) if index_of(item) == text_index]
    return list(item["sparse_embedding"])


def dense_alike(first: Response, second: Response) -> str:
    """Return whether the first dense vectors are equal: exactly, nearly or no."""
    one, other = dense(first)[0], dense(second)[0]
    if one.shape != other.shape:
        return "no"
    if np.array_equal(one, other):
        return "exactly"
    cosine = one @ other / (np.linalg.norm(one) * np.linalg.norm(other))
    return "nearly" if cosine >= _NEARLY else "no"


def sparse_alike(first: Response, second: Response) -> str:
    """Return whether the first sparse vectors are equal: exactly, nearly or no."""
    one, other = (
        {entry["index"]: float(entry["value"]) for entry in entries(response)}
        for response in (first, second)
    )
    if one == other:
        return "exactly"
    if one.keys() != other.keys():
        return "no"
    return "nearly" if all(abs(one[index] - other[index]) < 0.01 for index in one) else "no"


def same_indices(first: Response, second: Response) -> str:
    """Return whether the first sparse vectors have the same indices."""
    one, other = ({entry["index"] for entry in entries(response)} for response in (first, second))
    return yes(one == other)


def length(response: Response) -> str:
    """Return the dimension of the dense vectors and whether they are unit vectors."""
    vectors = dense(response)
    unit = abs(np.linalg.norm(vectors, axis=1) - 1).max() < _UNIT
    return f"{vectors.shape[1]} numbers, {'unit' if unit else 'not unit'} length"


def norm(response: Response) -> str:
    """Return the norm of the first dense vector."""
    return f"{np.linalg.norm(dense(response)[0]):.6f}"


def success_shape(response: Response) -> Facts:
    """Return the format of a success with dense vectors: keys, types, order, media type."""
    body, found = response.json, items(response)
    indices = [index_of(item) for item in found]
    vectors = dense(response)
    return {
        "keys of the body": keys(body),
        "keys of an item": ", ".join(sorted({key for item in found for key in item})),
        "keys of usage": ", ".join(sorted(body["usage"])),
        "one vector per text": yes(sorted(indices) == list(range(len(found)))),
        "vectors in the order of the texts": yes(indices == sorted(indices)),
        "numbers are float32": yes(
            np.array_equal(vectors.astype(np.float32).astype(np.float64), vectors)
        ),
        "media type": media_type(response),
    }


def media_type(response: Response) -> str:
    """Return the media type of a response, without its parameters."""
    return response.headers.get("content-type", "none").partition(";")[0].strip().lower()


def sparse_shape(response: Response, text: str, vocabulary: int, largest: float) -> Observation:
    """Return the format of the first sparse vector.

    Args:
        response: The response.
        text: The text, in lower case.
        vocabulary: The documented upper bound of the indices, exclusive.
        largest: The documented upper bound of the values.
    """
    found = entries(response)
    indices = [entry["index"] for entry in found]
    values = [entry["value"] for entry in found]
    positions = [text.find(str(entry["token"]).strip(" ▁Ġ").lower()) for entry in found]
    in_text = [position for position in positions if position >= 0]
    return Observation(
        {
            "keys of an entry": ", ".join(sorted({key for entry in found for key in entry})),
            "an index is repeated": yes(len(set(indices)) < len(indices)),
            f"indices are integers below {vocabulary}": yes(
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
