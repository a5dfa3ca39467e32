"""Compares the service's responses with the documentation and the emulator."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from conformance.calls import Request, Response
from conformance.observations import MESSAGE, OUTCOME, Facts
from conformance.question import Question
from conformance.questions import V4

Verdict = Literal[
    "differs", "message differs", "same", "not available", "not offered", "not provoked", "skipped"
]

DIFFERENCES: tuple[Verdict, ...] = ("differs", "message differs")

_INACCESSIBLE = re.compile(r"ModelNotFound|Model\.|AccessDenied|AllocationQuota\.FreeTierOnly")


@dataclass(frozen=True)
class Finding:
    """The result of one question.

    Attributes:
        question: The question.
        verdict: Whether the two are the same, or why they were not compared.
        differing: The names of the facts that differ.
        service: The facts of the service's responses.
        reference: The expected values of each fact: the documented ones, otherwise the emulator's.
        notes: More about the service's responses, not compared.
        responses: The service's raw responses.
        emulated: The emulator's raw responses.
    """

    question: Question
    verdict: Verdict
    differing: tuple[str, ...] = ()
    service: Facts = field(default_factory=dict)
    reference: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Facts = field(default_factory=dict)
    responses: Sequence[Response] = ()
    emulated: Sequence[Response] = ()


def compare(
    question: Question, responses: Sequence[Response], emulated: Sequence[Response]
) -> Finding:
    """Compare the service's responses with the documentation, otherwise with the emulator's."""
    observed = question.observe(responses)
    reference = _reference(question, emulated)
    differing = tuple(
        name
        for name in {**observed.facts, **reference}
        if _is_comparable(name, observed.facts, reference)
        and not _matches(name, observed.facts.get(name, ""), reference)
    )
    return Finding(
        question,
        _reason_not_to_compare(question, responses, emulated) or _verdict(differing),
        differing,
        observed.facts,
        reference,
        observed.notes,
        responses,
        emulated,
    )


def _reference(question: Question, emulated: Sequence[Response]) -> Mapping[str, tuple[str, ...]]:
    facts = question.observe(emulated).facts
    return {**{name: (value,) for name, value in facts.items()}, **question.expected}


def _verdict(differing: Sequence[str]) -> Verdict:
    if not differing:
        return "same"
    return "message differs" if all(name.endswith(MESSAGE) for name in differing) else "differs"


def _is_comparable(
    name: str, service: Mapping[str, str], reference: Mapping[str, tuple[str, ...]]
) -> bool:
    """Return whether to compare a fact; if one side failed, only the outcome is compared."""
    return (name in service and name in reference) or name.endswith(OUTCOME)


def _matches(name: str, value: str, reference: Mapping[str, tuple[str, ...]]) -> bool:
    expected = reference.get(name, ("",))
    if name.endswith(MESSAGE):
        return _normalized(value) in map(_normalized, expected)
    return value in expected


def _normalized(message: str) -> str:
    """Return a message without the differences that the service's own documentation has."""
    words = re.findall(r"\w+", message.casefold())
    return " ".join(word for word in words if word != "please")


def _reason_not_to_compare(
    question: Question, responses: Sequence[Response], emulated: Sequence[Response]
) -> Verdict | None:
    if question.burst and not any(response.status == 429 for response in responses):
        return "not provoked"
    if question.burst:
        return None
    exchanges = zip(question.requests, responses, strict=True)
    offered = [
        _is_offered(response) for request, response in exchanges if request.protocol == "compatible"
    ]
    if offered and not any(offered):
        return "not offered"
    if any(response.status == 429 for response in responses):
        return "not available"
    inaccessible = any(
        _model(request) != V4 and _is_inaccessible(response) and not _is_inaccessible(other)
        for request, response, other in zip(question.requests, responses, emulated, strict=True)
    )
    return "not available" if inaccessible else None


def _model(request: Request) -> object:
    return request.body.get("model", V4) if isinstance(request.body, dict) else V4


def _is_offered(response: Response) -> bool:
    """Return whether the path exists: a 404 for a path has no `error` in its body."""
    return response.status != 404 or (isinstance(response.json, dict) and "error" in response.json)


def _is_inaccessible(response: Response) -> bool:
    """Return whether the key has no access to the model, or the region does not have it.

    Access to text-embedding-v4 is checked first, so its errors have other causes.
    """
    return response.status in (403, 404) and _INACCESSIBLE.match(response.code) is not None
