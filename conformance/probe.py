"""Puts the questions to the emulator, which is free, and then to the service, within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from conformance.budget import Budget
from conformance.calls import Address, Request, Response, open_session, send
from conformance.findings import Finding, compare
from conformance.question import CERTAINTIES, Question
from conformance.questions import TEXT, embed
from qwen_embed.emulator import Emulator

_RETRIES = 2
_BURST_QUOTA = 60.0

_OVERDUE_BALANCE = "Arrearage"


class CannotRunError(Exception):
    """The comparison cannot run; the message says why."""


def in_order(questions: Sequence[Question]) -> list[Question]:
    """Return the questions, the least certain first.

    The burst is last, because its throttling may continue for a while.
    """
    return sorted(questions, key=lambda each: (each.burst, CERTAINTIES.index(each.certainty)))


async def ask_emulator(questions: Sequence[Question], api_key: str) -> list[list[Response]]:
    """Return the responses of a new emulator to each question."""
    emulated: list[list[Response]] = []
    with Emulator(api_key=api_key, workspaces=()) as emulator:
        address = Address(emulator.native_url, api_key)
        async with open_session() as session:
            for question in questions:
                emulator.set_quota(_BURST_QUOTA if question.burst else None)
                emulated.append(await _ask(session, address, question))
    return emulated


async def ask_service(
    questions: Sequence[Question],
    emulated: Sequence[Sequence[Response]],
    address: Address,
    budget: Budget,
    *,
    on_finding: Callable[[Finding], None],
    pause: float,
) -> list[Finding]:
    """Put each question that the budget allows to the service, and compare the responses.

    Args:
        questions: The questions.
        emulated: The responses of the emulator to each question.
        address: The address of the service.
        budget: The token budget, which is updated.
        on_finding: Called with each finding.
        pause: Seconds to wait after a 429 before a retry.

    Raises:
        CannotRunError: When the service cannot be reached or rejects the key.
    """
    findings = []
    async with open_session() as session:
        await _check_access(session, address, budget)
        for question, emulator_responses in zip(questions, emulated, strict=True):
            if not budget.allows(_token_bound(question)):
                finding = Finding(question, "skipped")
            else:
                responses = await _ask_with_retries(session, address, question, budget, pause)
                finding = compare(question, responses, emulator_responses)
            on_finding(finding)
            findings.append(finding)
    return findings


async def _check_access(session: aiohttp.ClientSession, address: Address, budget: Budget) -> None:
    request = embed([TEXT])
    response = await send(session, address, request)
    budget.count(request, response)
    if response.error:
        raise CannotRunError(f"The service did not respond ({response.error}).")
    if (
        response.status in (401, 407)
        or response.code == _OVERDUE_BALANCE
        or response.code.startswith("AccessDenied")
    ):
        raise CannotRunError(
            f"The service denies access: {response.status} {response.code}: {response.message} "
            "A key is valid in one region only: does DASHSCOPE_REGION match it?"
        )


def _token_bound(question: Question) -> int:
    if question.burst:
        return question.burst * question.requests[0].token_bound
    return sum(request.token_bound for request in question.requests)


async def _ask_with_retries(
    session: aiohttp.ClientSession,
    address: Address,
    question: Question,
    budget: Budget,
    pause: float,
) -> list[Response]:
    for attempt in range(_RETRIES + 1):
        responses = await _ask(session, address, question)
        for request, response in zip(_sent(question), responses, strict=True):
            budget.count(request, response)
        throttled = any(response.status == 429 for response in responses)
        if question.burst or not throttled or not budget.allows(_token_bound(question)):
            break
        if attempt < _RETRIES:
            await asyncio.sleep(pause)
    return responses


def _sent(question: Question) -> Sequence[Request]:
    return question.requests * question.burst if question.burst else question.requests


async def _ask(
    session: aiohttp.ClientSession, address: Address, question: Question
) -> list[Response]:
    if question.burst:
        return list(
            await asyncio.gather(*(send(session, address, request) for request in _sent(question)))
        )
    return [await send(session, address, request) for request in question.requests]
