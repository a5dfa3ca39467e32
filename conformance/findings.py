"""What comes of comparing the service's answers with the documentation and the emulator's."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from conformance.calls import Call, Reply
from conformance.observations import OUTCOME, WORDS, Facts
from conformance.question import Question
from conformance.questions import V4

Verdict = Literal[
    "differs", "words differ", "same", "not available", "not offered", "not provoked", "not asked"
]

DIFFERENCES: tuple[Verdict, ...] = ("differs", "words differ")

_CLOSED = re.compile(r"ModelNotFound|Model\.|AccessDenied|AllocationQuota\.FreeTierOnly")


@dataclass(frozen=True)
class Finding:
    """What one question came to.

    Attributes:
        question: The question.
        verdict: Whether the two are the same, or why that is not known.
        differing: The names of the facts that differ.
        service: What the service answered, as facts.
        reference: The answers that are right for each fact: the documented ones, else the
            emulator's.
        notes: What was seen at the service besides.
        replies: The service's raw answers.
        emulated: The emulator's raw answers.
    """

    question: Question
    verdict: Verdict
    differing: tuple[str, ...] = ()
    service: Facts = field(default_factory=dict)
    reference: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Facts = field(default_factory=dict)
    replies: Sequence[Reply] = ()
    emulated: Sequence[Reply] = ()


def compare(question: Question, replies: Sequence[Reply], emulated: Sequence[Reply]) -> Finding:
    """Compare the service's answers with what is documented, and else with the emulator's."""
    seen = question.observe(replies)
    reference = _reference(question, emulated)
    differing = tuple(
        name
        for name in {**seen.facts, **reference}
        if _tells(name, seen.facts, reference)
        and not _holds(name, seen.facts.get(name, ""), reference)
    )
    return Finding(
        question,
        _reason_not_to_compare(question, replies, emulated) or _verdict(differing),
        differing,
        seen.facts,
        reference,
        seen.notes,
        replies,
        emulated,
    )


def _reference(question: Question, emulated: Sequence[Reply]) -> Mapping[str, tuple[str, ...]]:
    facts = question.observe(emulated).facts
    return {**{name: (value,) for name, value in facts.items()}, **question.expected}


def _verdict(differing: Sequence[str]) -> Verdict:
    if not differing:
        return "same"
    return "words differ" if all(name.endswith(WORDS) for name in differing) else "differs"


def _tells(name: str, service: Mapping[str, str], reference: Mapping[str, tuple[str, ...]]) -> bool:
    """Return whether a fact is worth a line: where one side failed, only how it ended is."""
    return (name in service and name in reference) or name.endswith(OUTCOME)


def _holds(name: str, value: str, reference: Mapping[str, tuple[str, ...]]) -> bool:
    right = reference.get(name, ("",))
    if name.endswith(WORDS):
        return _plain(value) in map(_plain, right)
    return value in right


def _plain(message: str) -> str:
    """Return a message without what the service's documentation drops or keeps at random."""
    words = re.findall(r"\w+", message.casefold())
    return " ".join(word for word in words if word != "please")


def _reason_not_to_compare(
    question: Question, replies: Sequence[Reply], emulated: Sequence[Reply]
) -> Verdict | None:
    if question.burst and not any(reply.status == 429 for reply in replies):
        return "not provoked"
    if question.burst:
        return None
    asked = zip(question.calls, replies, strict=True)
    offered = [_is_offered(reply) for call, reply in asked if call.protocol == "compatible"]
    if offered and not any(offered):
        return "not offered"
    if any(reply.status == 429 for reply in replies):
        return "not available"
    closed = any(
        _model(call) != V4 and _is_closed(reply) and not _is_closed(other)
        for call, reply, other in zip(question.calls, replies, emulated, strict=True)
    )
    return "not available" if closed else None


def _model(call: Call) -> object:
    return call.body.get("model", V4) if isinstance(call.body, dict) else V4


def _is_offered(reply: Reply) -> bool:
    """Return whether an answer is not a 404 for the path, which has no `error` in its body."""
    return reply.status != 404 or (isinstance(reply.json, dict) and "error" in reply.json)


def _is_closed(reply: Reply) -> bool:
    """Return whether this key may not use the model, or there is none of its name in the region.

    Nothing is asked where it may not use text-embedding-v4, so that a refusal of that model is not
    one of the account.
    """
    return reply.status in (403, 404) and _CLOSED.match(reply.code) is not None
