"""The command line: `python -m conformance`, which asks for confirmation before it spends."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import urlsplit

from conformance.budget import MAX_TOKENS, Budget, cost
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
Expected to be billed: about {expected:,} tokens, and never {limit:,} or more:
{cost}."""


def main(
    arguments: Sequence[str] | None = None,
    *,
    env: Mapping[str, str] = os.environ,
    ask: Callable[[str], str] = input,
    questions: Sequence[Question] | None = None,
    limit: int = MAX_TOKENS,
    pause: float = _PAUSE,
) -> int:
    """Run the comparison and return the exit status.

    Args:
        arguments: The command-line arguments.
        env: The environment variables.
        ask: Prompts the user and returns the reply.
        questions: The questions; all by default.
        limit: The number of tokens that is never reached.
        pause: Seconds to wait after a 429.

    Returns:
        0 if nothing differs, 1 if something does, 2 if it could not run.
    """
    options = _parser().parse_args(arguments)
    burst = env.get("BURST") == "1"
    if questions is None:
        questions = [*native_questions(burst=burst), *compatible_questions()]
    try:
        _check_folder(options.report)
        address, region = _address(env)
        run = Run(
            datetime.now(timezone.utc), region, _public_host(address.root), __version__, burst
        )
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
    expected = sum(response.tokens for responses in emulated for response in responses)
    print(
        _INTENT.format(
            questions=len(questions),
            host=run.host,
            region=run.region,
            requests=sum(question.burst or len(question.requests) for question in questions),
            expected=expected,
            limit=limit,
            cost=cost(limit, run.region),
        ),
        flush=True,
    )
    if env.get("YES") != "1" and not _is_confirmed(ask):
        raise CannotRunError("Nothing was sent. Set YES=1 to skip the confirmation.")
    budget = Budget(limit)
    findings = asyncio.run(
        ask_service(questions, emulated, address, budget, on_finding=_print_finding, pause=pause)
    )
    return findings, budget


def _address(env: Mapping[str, str]) -> tuple[Address, str]:
    api_key = env.get(API_KEY_VARIABLE, "").strip()
    if not api_key:
        raise CannotRunError(f"{API_KEY_VARIABLE} is not set.")
    if not (api_key.isascii() and api_key.isprintable()) or " " in api_key:
        raise CannotRunError(
            f"{API_KEY_VARIABLE} contains spaces, control or non-ASCII characters."
        )
    workspace = env.get(WORKSPACE_VARIABLE) or None
    endpoint = find_endpoint("native", base_url=None, region=None, workspace=workspace, env=env)
    root = endpoint.root
    return Address(root, api_key, workspace), _region_of(root, endpoint.region)


def _check_folder(report: Path) -> None:
    if not report.parent.is_dir():
        raise CannotRunError(f"The folder {report.parent} for the report does not exist.")


def _region_of(root: str, configured: str) -> str:
    """Return the region of the host, or the configured one if the host does not name it."""
    host = urlsplit(root).hostname or ""
    regions = [name for name, url in SHARED_HOSTS.items() if urlsplit(url).hostname == host]
    if host.endswith(_WORKSPACE_HOSTS):
        regions = [host.removesuffix(_WORKSPACE_HOSTS).rpartition(".")[2]]
    return configured if configured in regions or not regions else regions[0]


def _public_host(root: str) -> str:
    """Return the host of a root, with the workspace redacted."""
    host = urlsplit(root).netloc
    if not host.endswith(_WORKSPACE_HOSTS):
        return host
    return "{workspace}." + host.partition(".")[2]


def _is_confirmed(ask: Callable[[str], str]) -> bool:
    try:
        return ask("Send them? [y/N] ").strip().lower() in ("y", "yes")
    except (EOFError, RuntimeError):  # standard input is closed
        return False


def _print_finding(finding: Finding) -> None:
    print(f"  {finding.verdict:<14} {finding.question.title}", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conformance",
        description="Compares the emulator with the real service. It costs tokens.",
        epilog="YES=1 skips the confirmation; BURST=1 also provokes a 429.",
    )
    parser.add_argument(
        "--report",
        type=Path,
        default=Path("conformance-report.md"),
        help="file to write (%(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
