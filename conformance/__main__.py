"""The command line: `python -m conformance`, which asks before it spends."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from conformance.budget import MOST_TOKENS, Budget, cost
from conformance.calls import HIDDEN_KEY, Address
from conformance.compatible import compatible_questions
from conformance.findings import DIFFERENCES, Finding
from conformance.probe import CannotRunError, ask_emulator, ask_service, in_order
from conformance.question import Question
from conformance.questions import native_questions
from conformance.report import Run, render, tally
from qwen_embed.config.endpoints import (
    API_KEY_VARIABLE,
    SHARED_HOSTS,
    WORKSPACE_VARIABLE,
    find_endpoint,
)
from qwen_embed.version import __version__

SAME, DIFFERENT, COULD_NOT_RUN = 0, 1, 2

_PAUSE = 2.0
_WORKSPACE_HOSTS = ".maas.aliyuncs.com"

_INTENT = """\
{questions} questions to {host} ({region}), in {requests} requests.
They are expected to be billed about {expected:,} tokens, and never {limit:,} or more:
{cost}."""


def main(
    arguments: Sequence[str] | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] = input,
    questions: Sequence[Question] | None = None,
    limit: int = MOST_TOKENS,
    pause: float = _PAUSE,
) -> int:
    """Run the probe and return the exit status.

    Args:
        arguments: Those of the command line.
        env: The environment variables.
        ask: Shows a question to the person who runs this and returns the answer.
        questions: What is asked; all questions where not given.
        limit: Tokens that are never reached.
        pause: Seconds to wait after a 429.

    Returns:
        0 where nothing differs, 1 where something does, 2 where it could not run.
    """
    options = _parser().parse_args(arguments)
    burst = env.get("BURST") == "1"
    if questions is None:
        questions = [*native_questions(burst=burst), *compatible_questions()]
    try:
        _check_folder(options.report)
        address, region = _address(env)
        run = Run(datetime.now(timezone.utc), region, _host_shown(address.root), __version__, burst)
        findings, budget = _findings(in_order(questions), address, run, env, ask, limit, pause)
        report = render(findings, run, budget).replace(address.api_key, HIDDEN_KEY)
        options.report.write_text(report, encoding="utf-8")
    except (CannotRunError, OSError, ValueError) as error:
        print(f"Could not run: {error}", file=sys.stderr)
        return COULD_NOT_RUN
    print(f"{tally(findings)}. {budget.spent:,} tokens billed. Report: {options.report}")
    return DIFFERENT if any(each.verdict in DIFFERENCES for each in findings) else SAME


def _findings(
    questions: Sequence[Question],
    address: Address,
    run: Run,
    env: Mapping[str, str],
    ask: Callable[[str], str],
    limit: int,
    pause: float,
) -> tuple[list[Finding], Budget]:
    emulated = asyncio.run(ask_emulator(questions, address.api_key))
    expected = sum(reply.tokens for replies in emulated for reply in replies)
    print(
        _INTENT.format(
            questions=len(questions),
            host=run.host,
            region=run.region,
            requests=sum(question.burst or len(question.calls) for question in questions),
            expected=expected,
            limit=limit,
            cost=cost(limit, run.region),
        ),
        flush=True,
    )
    if env.get("YES") != "1" and not _agreed(ask):
        raise CannotRunError("Nothing was sent. YES=1 answers for you.")
    budget = Budget(limit)
    findings = asyncio.run(
        ask_service(questions, emulated, address, budget, tell=_tell, pause=pause)
    )
    return findings, budget


def _address(env: Mapping[str, str]) -> tuple[Address, str]:
    api_key = env.get(API_KEY_VARIABLE, "").strip()
    if not api_key:
        raise CannotRunError(f"{API_KEY_VARIABLE} is not set.")
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise CannotRunError(f"{API_KEY_VARIABLE} holds characters that no key has.")
    workspace = env.get(WORKSPACE_VARIABLE) or None
    endpoint = find_endpoint("native", base_url=None, region=None, workspace=workspace, env=env)
    root = endpoint.root
    return Address(root, api_key, workspace), _region_of(root, endpoint.region)


def _check_folder(report: Path) -> None:
    if not report.parent.is_dir():
        raise CannotRunError(f"There is no folder {report.parent} for the report.")


def _region_of(root: str, asked: str) -> str:
    """Return the region of a root: that of its host where the host tells, else the one asked."""
    host = urlsplit(root).hostname or ""
    regions = [name for name, url in SHARED_HOSTS.items() if urlsplit(url).hostname == host]
    if host.endswith(_WORKSPACE_HOSTS):
        regions = [host.removesuffix(_WORKSPACE_HOSTS).rpartition(".")[2]]
    return asked if asked in regions or not regions else regions[0]


def _host_shown(root: str) -> str:
    """Return the host of a root, without the workspace in its name."""
    host = urlsplit(root).netloc
    if not host.endswith(_WORKSPACE_HOSTS):
        return host
    return "{workspace}." + host.partition(".")[2]


def _agreed(ask: Callable[[str], str]) -> bool:
    try:
        return ask("Send them? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, RuntimeError):  # standard input is closed
        return False


def _tell(finding: Finding) -> None:
    print(f"  {finding.verdict:<14} {finding.question.title}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description="Asks the real service what the emulator claims. It costs tokens.",
        epilog="YES=1 asks nothing before it spends; BURST=1 also provokes a 429.",
    )
    parser.add_argument(
        "--report", type=Path, default=Path("conformance-report.md"), help="the file (%(default)s)"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
