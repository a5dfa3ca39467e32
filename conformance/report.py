"""The report: what differs first, each with the module to change, then what was sent and said."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conformance.budget import Budget, cost
from conformance.calls import Call, Reply
from conformance.findings import DIFFERENCES, Finding, Verdict
from conformance.question import Question

EXCERPT = 300
"""Characters of a body that are shown."""

_ORDER: tuple[Verdict, ...] = (
    "differs",
    "words differ",
    "same",
    "not available",
    "not provoked",
    "not offered",
    "not asked",
)
_MEANINGS: dict[Verdict, str] = {
    "differs": "**differs**",
    "words differ": "**words differ**: status and code are the same",
    "same": "same",
    "not available": "not compared: the account may not use the model here, or was throttled",
    "not provoked": "not compared: no 429 came",
    "not offered": "not offered by what was asked",
    "not asked": "not asked: it could have led above the budget",
}
_CELL = 200
_LONGEST_LIST = 3
_LONGEST_STRING = 120


@dataclass(frozen=True)
class Run:
    """When and where a report was made.

    Attributes:
        at: When.
        region: The region asked.
        host: The host asked, without the workspace in its name.
        version: The version of this package.
        burst: Whether a 429 was to be provoked.
    """

    at: datetime
    region: str
    host: str
    version: str
    burst: bool


def render(findings: Sequence[Finding], run: Run, budget: Budget) -> str:
    """Return the report as Markdown."""
    ordered = sorted(findings, key=lambda finding: _ORDER.index(finding.verdict))
    differing = [finding for finding in ordered if finding.verdict in DIFFERENCES]
    return "\n".join(
        [
            "# The service and its emulator",
            "",
            *_heading(ordered, run, budget),
            "",
            "## Summary",
            "",
            *_table(ordered),
            "",
            "## What differs",
            "",
            *([line for each in differing for line in _difference(each)] or ["Nothing.", ""]),
            "## What was sent and said",
            "",
            *(line for finding in ordered for line in _exchanges(finding)),
        ]
    )


def tally(findings: Sequence[Finding]) -> str:
    """Return how many questions came to what, in a line."""
    counts = Counter(finding.verdict for finding in findings)
    return ", ".join(f"{counts[verdict]} {verdict}" for verdict in _ORDER if counts[verdict])


def _heading(findings: Sequence[Finding], run: Run, budget: Budget) -> Iterator[str]:
    yield f"- Date: {run.at:%Y-%m-%d %H:%M} UTC"
    yield f"- Region: {run.region}, host {run.host}"
    yield f"- qwen-embed {run.version}"
    yield f"- Requests: {budget.requests}"
    yield f"- Tokens billed: {budget.spent:,} ({cost(budget.spent, run.region)})"
    yield f"- Questions: {tally(findings)}"
    if not run.burst:
        yield "- Not asked without `BURST=1`: the code of a 429, and whether it has `Retry-After`"
    yield (
        "- Not asked for their price: texts of the exact limit; texts above 128,000 tokens "
        "(qwen3.7). That a refused request is not billed cannot be seen in its answer."
    )


def _table(findings: Sequence[Finding]) -> Iterator[str]:
    yield "| question | service | emulator | same? |"
    yield "|---|---|---|---|"
    for finding in findings:
        cells = (finding.question.title, _service(finding), _reference(finding))
        row = " | ".join(_cell(cell, _CELL) for cell in cells)
        yield f"| {row} | {_MEANINGS[finding.verdict]} |"


def _shown(finding: Finding) -> Sequence[str]:
    """Return the names of the facts that a row of the table has room for."""
    if finding.verdict in DIFFERENCES:
        return finding.differing
    return list(finding.service)


def _service(finding: Finding) -> str:
    return _facts({name: finding.service.get(name, "nothing") for name in _shown(finding)})


def _reference(finding: Finding) -> str:
    return _facts({name: _right(finding, name) for name in _shown(finding)})


def _right(finding: Finding, name: str) -> str:
    """Return the answers that are right for a fact, and whether they are so by documentation."""
    right = " or ".join(finding.reference.get(name, ("nothing",)))
    return f"{right} (documented)" if name in finding.question.expected else right


def _facts(facts: dict[str, str]) -> str:
    return "; ".join(f"{name}: {value or 'empty'}" for name, value in facts.items())


def _cell(text: str, most: int = EXCERPT) -> str:
    return " ".join(_cut(text, most).replace("|", "\\|").split())


def _difference(finding: Finding) -> Iterator[str]:
    yield f"### {finding.question.title}"
    yield ""
    yield f"Known so far as: {finding.question.mark}. To change: `{finding.question.module}`."
    yield ""
    yield "| fact | service | emulator |"
    yield "|---|---|---|"
    for name in finding.differing:
        value = finding.service.get(name, "nothing")
        yield f"| {_cell(name)} | {_cell(value)} | {_cell(_right(finding, name))} |"
    yield ""


def _exchanges(finding: Finding) -> Iterator[str]:
    if not finding.replies:
        return
    yield f"### {finding.question.title}"
    yield ""
    for name, value in finding.notes.items():
        yield f"- {name}: {_cut(value, EXCERPT)}"
    if finding.notes:
        yield ""
    yield "```text"
    for place, call in enumerate(finding.question.calls):
        yield _sent(call)
        yield f"  service:  {_said(_telling(finding.replies, place, finding.question))}"
        if finding.emulated and finding.verdict in DIFFERENCES:
            yield f"  emulator: {_said(_telling(finding.emulated, place, finding.question))}"
    yield "```"
    yield ""


def _telling(replies: Sequence[Reply], place: int, question: Question) -> Reply:
    """Return the answer to a call; to one sent many times, the first that was throttled."""
    if not question.burst:
        return replies[place]
    return next((reply for reply in replies if reply.status == 429), replies[0])


def _sent(call: Call) -> str:
    key = "" if call.key == "right" else f" [key: {call.key}]"
    headers = "".join(f" [{name}: {value}]" for name, value in call.headers.items())
    return f"{call.method} {call.path}{key}{headers} {_excerpt(call.raw)}".rstrip()


def _said(reply: Reply) -> str:
    if reply.fault:
        return f"no answer ({reply.fault})"
    kind = reply.headers.get("content-type", "no content-type")
    return f"{reply.status} {kind} {_excerpt(reply.body)}".rstrip()


def _excerpt(body: bytes) -> str:
    """Return the beginning of a body, its vectors and long texts left out."""
    try:
        text = json.dumps(_elided(json.loads(body)), ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body[: 4 * EXCERPT].decode("utf-8", "replace")
    # A body must not be able to end the block in which it is shown.
    return " ".join(_cut(text, EXCERPT).replace("```", "'''").split())


def _elided(part: Any) -> Any:
    if isinstance(part, dict):
        return {name: _elided(value) for name, value in part.items()}
    if isinstance(part, list):
        shown = [_elided(value) for value in part[: _LONGEST_LIST - 1]]
        rest = len(part) - len(shown)
        return [_elided(value) for value in part] if rest <= 1 else [*shown, f"… {rest} more"]
    if isinstance(part, str) and len(part) > EXCERPT:
        return f"{part[:_LONGEST_STRING]}… {len(part)} characters"
    return part


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
