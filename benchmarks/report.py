"""The results as Markdown: ratios first, then the figures behind them."""

from __future__ import annotations

import datetime as dt
import math
import operator
import os
import platform
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import queries
import quotas
import rounds
from contenders import BASELINE, DASHSCOPE
from results import FULL, LATENCY, Results
from targets import Target, targets

_PACKAGES = """
    qwen-embed aiohttp msgspec numpy orjson pydantic langchain-core llama-index-core
    baseten-performance-client dashscope langchain-community langchain-openai openai
    llama-index-embeddings-dashscope llama-index-embeddings-openai-like
""".split()  # noqa: SIM905 -- reads better


def render(results: Results) -> str:
    """Return the whole record."""
    title = "Results" if results.effort == FULL else "A quick run (not representative)"
    sections = [f"# {title}\n\n{_circumstances()}"]
    found = targets(results)
    if found:
        sections.append(f"## Targets\n\n{_target_table(found)}")
    if results.cpu:
        sections.append(
            f"## CPU time without latency\n\n{len(results.cpu)} rounds.\n\n"
            + _contender_table(results.cpu, rounds.cpu, "CPU s per 1,000 texts", ".3f")
        )
    if LATENCY in results.throughput:
        sections.append(
            f"## Throughput at {LATENCY * 1000:g} ms per request\n\n"
            f"{results.effort.texts:,} texts, {results.effort.rounds} rounds.\n\n"
            + _contender_table(results.throughput[LATENCY], rounds.rate, "texts/s", ",.0f")
        )
    if len(results.throughput) > 1:
        sections.append(
            f"## Texts/s by latency\n\n{results.effort.charted_texts:,} texts, at "
            f"{LATENCY * 1000:g} ms {results.effort.texts:,}.\n\n"
            + _latency_table(results.throughput)
        )
    if results.quotas:
        sections.append(
            f"## Quotas\n\n{results.effort.quota_seconds:g} s worth of requests, "
            f"{quotas.LATENCY * 1000:g} ms each, {results.effort.rounds} rounds.\n\n"
            + _quota_table(results.quotas)
        )
    if results.queries:
        sections.append(f"## Single queries\n\n{_query_table(results.queries)}")
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _target_table(found: Iterable[Target]) -> str:
    return table(
        ("", "measured", "target", ""),
        (
            (
                target.name,
                ", ".join(figure.reached for figure in target.figures),
                ", ".join(figure.required for figure in target.figures),
                target.verdict,
            )
            for target in found
        ),
    )


def _contender_table(
    measured: list[rounds.Round],
    figure: Callable[[rounds.Measurement], float],
    what: str,
    form: str,
) -> str:
    return table(
        ("", "times the baseline", f"times {DASHSCOPE.name}", what),
        (
            (
                contender.name,
                _number(rounds.ratio(measured, contender, BASELINE, figure), ".2f"),
                _number(rounds.ratio(measured, contender, DASHSCOPE, figure), ".2f"),
                _number(rounds.middle(measured, contender, figure), form),
            )
            for contender in measured[0]
        ),
    )


def _latency_table(measured: dict[float, list[rounds.Round]]) -> str:
    latencies = sorted(measured)
    contenders = [
        contender
        for contender in measured[latencies[0]][0]
        if all(contender in each[0] for each in measured.values())
    ]
    return table(
        ("", *(f"{latency * 1000:g} ms" for latency in latencies)),
        (
            (
                contender.name,
                *(
                    _number(rounds.middle(measured[latency], contender, rounds.rate), ",.0f")
                    for latency in latencies
                ),
            )
            for contender in contenders
        ),
    )


def _quota_table(measured: dict[quotas.Case, list[quotas.Outcome]]) -> str:
    rows = []
    for case, outcomes in measured.items():
        middle = quotas.middle(outcomes)
        lost = "cut off" if math.isnan(middle.lost) else f"{middle.lost:,.0f}"
        used, throttled = _number(middle.used, ".2f"), _number(middle.throttled, ".1%")
        rows.append((quotas.name_of(case), used, throttled, lost))
    return table(("", "quota used", "throttled", "texts lost"), rows)


def _query_table(measured: list[dict[str, queries.Latency]]) -> str:
    figures = [operator.attrgetter("p50"), operator.attrgetter("p99")]
    return table(
        ("", "p50 added, ms", "p99 added, ms", "p50, ms", "p99, ms"),
        (
            (
                name,
                *(f"{queries.added(measured, name, figure):.2f}" for figure in figures),
                *(f"{queries.middle(measured, name, figure):.2f}" for figure in figures),
            )
            for name in measured[0]
        ),
    )


def _number(value: float, form: str) -> str:
    return "–" if math.isnan(value) else format(value, form)


def _circumstances() -> str:
    packages = ", ".join(f"{name} {_version(name)}" for name in _PACKAGES)
    return (
        f"`make bench` wrote this on {dt.date.today()}, on {os.cpu_count()} CPUs "
        f"({_processor()}), {platform.system()}, Python {platform.python_version()}. "
        f"[README.md](README.md) says what is measured and how reliable it is.\n\n{packages}."
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
