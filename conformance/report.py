"""The report: the differences, each with the module to change, then all requests and responses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conformance.budget import Budget, cost
from conformance.calls import Request, Response
from conformance.findings import DIFFERENCES, Finding, Verdict
from conformance.question import Question

EXCERPT = 300
"""The number of characters of a body that are shown."""

_ORDER: tuple[Verdict, ...] = (
    "differs",
    "message differs",
    "same",
    "not available",
    "not provoked",
    "not offered",
    "skipped",
)
_MEANINGS: dict[Verdict, str] = {
    "differs": "**differs**",
    "message differs": "**message differs**: status and code are the same",
    "same": "same",
    "not available": "not compared: the account has no access to the model here, or was throttled",
    "not provoked": "not compared: there was no 429",
    "not offered": "not compared: the host does not have this protocol",
    "skipped": "skipped: it might have exceeded the budget",
}
_CELL = 200
_LONGEST_LIST = 3
_LONGEST_STRING = 120


@dataclass(frozen=True)
class Run:
    """When and where a comparison ran.

    Attributes:
        at: The time.
        region: The region.
        host: The host, with the workspace redacted.
        version: The version of this package.
        burst: Whether the burst that provokes a 429 was included.
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
            "## Differences",
            "",
            *([line for each in differing for line in _difference(each)] or ["Nothing.", ""]),
            "## Requests and responses",
            "",
            *(line for finding in ordered for line in _exchanges(finding)),
        ]
    )


def tally(findings: Sequence[Finding]) -> str:
    """Return the number of questions with each verdict, in one line."""
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
        yield "- Skipped without `BURST=1`: the code of a 429, and whether it has `Retry-After`"
    yield (
        "- Skipped because of their price: texts of exactly the limit; texts above 128,000 tokens "
        "(qwen3.7). Whether rejected requests are billed is not visible in a response."
    )


def _table(findings: Sequence[Finding]) -> Iterator[str]:
    yield "| question | service | emulator | same? |"
    yield "|---|---|---|---|"
    for finding in findings:
        cells = (finding.question.title, _service(finding), _reference(finding))
        row = " | ".join(_cell(cell, _CELL) for cell in cells)
        yield f"| {row} | {_MEANINGS[finding.verdict]} |"


def _shown(finding: Finding) -> Sequence[str]:
    """Return the names of the facts to show in the summary table."""
    if finding.verdict in DIFFERENCES:
        return finding.differing
    return list(finding.service)


def _service(finding: Finding) -> str:
    return _facts({name: finding.service.get(name, "no value") for name in _shown(finding)})


def _reference(finding: Finding) -> str:
    return _facts({name: _expected(finding, name) for name in _shown(finding)})


def _expected(finding: Finding, name: str) -> str:
    """Return the expected values of a fact, and whether they are documented."""
    expected = " or ".join(finding.reference.get(name, ("no value",)))
    return f"{expected} (documented)" if name in finding.question.expected else expected


def _facts(facts: dict[str, str]) -> str:
    return "; ".join(f"{name}: {value or 'empty'}" for name, value in facts.items())


def _cell(text: str, limit: int = EXCERPT) -> str:
    return " ".join(_shortened(text, limit).replace("|", "\\|").split())


def _difference(finding: Finding) -> Iterator[str]:
    yield f"### {finding.question.title}"
    yield ""
    yield f"Certainty: {finding.question.certainty}. To change: `{finding.question.module}`."
    yield ""
    yield "| fact | service | emulator |"
    yield "|---|---|---|"
    for name in finding.differing:
        value = finding.service.get(name, "no value")
        yield f"| {_cell(name)} | {_cell(value)} | {_cell(_expected(finding, name))} |"
    yield ""


def _exchanges(finding: Finding) -> Iterator[str]:
    if not finding.responses:
        return
    yield f"### {finding.question.title}"
    yield ""
    for name, value in finding.notes.items():
        yield f"- {name}: {_shortened(value, EXCERPT)}"
    if finding.notes:
        yield ""
    yield "```text"
    for index, request in enumerate(finding.question.requests):
        yield _request_line(request)
        shown = _representative(finding.responses, index, finding.question)
        yield f"  service:  {_response_line(shown)}"
        if finding.emulated and finding.verdict in DIFFERENCES:
            shown = _representative(finding.emulated, index, finding.question)
            yield f"  emulator: {_response_line(shown)}"
    yield "```"
    yield ""


def _representative(responses: Sequence[Response], index: int, question: Question) -> Response:
    """Return the response to a request; of a burst, the first that was throttled."""
    if not question.burst:
        return responses[index]
    return next((response for response in responses if response.status == 429), responses[0])


def _request_line(request: Request) -> str:
    key = "" if request.key == "right" else f" [key: {request.key}]"
    headers = "".join(f" [{name}: {value}]" for name, value in request.headers.items())
    return f"{request.method} {request.path}{key}{headers} {_excerpt(request.raw)}".rstrip()


def _response_line(response: Response) -> str:
    if response.error:
        return f"no response ({response.error})"
    media_type = response.headers.get("content-type", "no content-type")
    return f"{response.status} {media_type} {_excerpt(response.body)}".rstrip()


def _excerpt(body: bytes) -> str:
    """Return the start of a body, with vectors and long texts elided."""
    try:
        text = json.dumps(_elided(json.loads(body)), ensure_ascii=False)
    except (ValueError, RecursionError):
        text = body[: 4 * EXCERPT].decode("utf-8", "replace")
    # A body must not close the code block in which it is shown.
    return " ".join(_shortened(text, EXCERPT).replace("```", "'''").split())


def _elided(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _elided(inner) for name, inner in value.items()}
    if isinstance(value, list):
        shown = [_elided(inner) for inner in value[: _LONGEST_LIST - 1]]
        rest = len(value) - len(shown)
        return [_elided(inner) for inner in value] if rest <= 1 else [*shown, f"… {rest} more"]
    if isinstance(value, str) and len(value) > EXCERPT:
        return f"{value[:_LONGEST_STRING]}… {len(value)} characters"
    return value


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
