"""Asks the questions: first the emulator, for nothing, then the service, within a budget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import aiohttp

from conformance.budget import Budget
from conformance.calls import Address, Call, Reply, open_session, send
from conformance.findings import Finding, compare
from conformance.question import MARKS, Question
from conformance.questions import TEXT, embed
from qwen_embed.emulator import Emulator

_REPEATS = 2
_QUOTA_OF_A_BURST = 60.0

_ARREARS = "Arrearage"


class CannotRunError(Exception):
    """Nothing can be asked; the message says why."""


def in_order(questions: Sequence[Question]) -> list[Question]:
    """Return the questions, those first of which the least is known.

    A burst comes last: what it provokes may last.
    """
    return sorted(questions, key=lambda each: (each.burst, MARKS.index(each.mark)))


async def ask_emulator(questions: Sequence[Question], api_key: str) -> list[list[Reply]]:
    """Return a fresh emulator's answers to each question."""
    answers: list[list[Reply]] = []
    with Emulator(api_key=api_key, workspaces=()) as emulator:
        address = Address(emulator.native_url, api_key)
        async with open_session() as session:
            for question in questions:
                emulator.set_quota(_QUOTA_OF_A_BURST if question.burst else None)
                answers.append(await _ask(session, address, question))
    return answers


async def ask_service(
    questions: Sequence[Question],
    emulated: Sequence[Sequence[Reply]],
    address: Address,
    budget: Budget,
    *,
    tell: Callable[[Finding], None],
    pause: float,
) -> list[Finding]:
    """Ask the service each question that the budget allows, and compare its answers.

    Args:
        questions: The questions.
        emulated: The emulator's answers to each.
        address: Where the service is.
        budget: What may be spent; it counts.
        tell: Called with each finding as it comes.
        pause: Seconds to wait after a 429 before a question is asked again.

    Raises:
        CannotRunError: If the service cannot be reached or lets nothing in.
    """
    findings = []
    async with open_session() as session:
        await _check_door(session, address, budget)
        for question, answers in zip(questions, emulated, strict=True):
            if not budget.allows(_token_bound(question)):
                finding = Finding(question, "not asked")
            else:
                replies = await _ask_patiently(session, address, question, budget, pause)
                finding = compare(question, replies, answers)
            tell(finding)
            findings.append(finding)
    return findings


async def _check_door(session: aiohttp.ClientSession, address: Address, budget: Budget) -> None:
    call = embed([TEXT])
    reply = await send(session, address, call)
    budget.count(call, reply)
    if reply.fault:
        raise CannotRunError(f"The service gave no answer ({reply.fault}).")
    if (
        reply.status in (401, 407)
        or reply.code == _ARREARS
        or reply.code.startswith("AccessDenied")
    ):
        raise CannotRunError(
            f"The service lets nothing in: {reply.status} {reply.code}: {reply.message} "
            "A key belongs to one region: is DASHSCOPE_REGION the key's?"
        )


def _token_bound(question: Question) -> int:
    if question.burst:
        return question.burst * question.calls[0].token_bound
    return sum(call.token_bound for call in question.calls)


async def _ask_patiently(
    session: aiohttp.ClientSession,
    address: Address,
    question: Question,
    budget: Budget,
    pause: float,
) -> list[Reply]:
    for repeat in range(_REPEATS + 1):
        replies = await _ask(session, address, question)
        for call, reply in zip(_sent(question), replies, strict=True):
            budget.count(call, reply)
        throttled = any(reply.status == 429 for reply in replies)
        if question.burst or not throttled or not budget.allows(_token_bound(question)):
            break
        if repeat < _REPEATS:
            await asyncio.sleep(pause)
    return replies


def _sent(question: Question) -> Sequence[Call]:
    return question.calls * question.burst if question.burst else question.calls


async def _ask(session: aiohttp.ClientSession, address: Address, question: Question) -> list[Reply]:
    if question.burst:
        return list(
            await asyncio.gather(*(send(session, address, call) for call in _sent(question)))
        )
    return [await send(session, address, call) for call in question.calls]
