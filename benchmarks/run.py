"""Measures this package, its peers and the baseline, and prints which targets are met."""

from __future__ import annotations

import argparse
import logging
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import queries
import quota_chart
import quotas
import rounds
import throughput_chart
from contenders import (
    ALL,
    BASELINE,
    DASHSCOPE,
    OPENAI,
    RUST_ARRAY,
    SDK_THREADS,
    SYNC,
    Contender,
)
from report import render
from results import FULL, LATENCY, QUICK, Results
from stub import HOST

CHARTED = {BASELINE, SYNC, RUST_ARRAY, SDK_THREADS, OPENAI, DASHSCOPE}
"""Contenders that are also measured at latencies other than that of the targets."""


@cache
def contenders() -> list[Contender]:
    """Return those that can run; those that cannot are printed once."""
    return rounds.available(ALL)


def measure_cpu(results: Results) -> None:
    """Measure CPU time without latency."""
    effort = results.effort
    results.cpu = rounds.run_rounds(
        contenders(), latency=0, rounds=effort.cpu_rounds, texts=effort.texts
    )


def measure_throughput(results: Results) -> None:
    """Measure throughput at each latency."""
    effort = results.effort
    for latency in effort.latencies:
        has_target = latency == LATENCY
        results.throughput[latency] = rounds.run_rounds(
            [each for each in contenders() if has_target or each in CHARTED],
            latency=latency,
            rounds=effort.rounds,
            texts=effort.texts if has_target else effort.charted_texts,
        )


def measure_quotas(results: Results) -> None:
    """Measure how much of a quota is used."""
    effort = results.effort
    results.quotas = quotas.run_rounds(seconds=effort.quota_seconds, rounds=effort.rounds)


def measure_queries(results: Results) -> None:
    """Measure the latency of single queries."""
    effort = results.effort
    results.queries = queries.run_rounds(calls=effort.queries, rounds=effort.rounds)


MEASURES: dict[str, Callable[[Results], None]] = {
    "cpu": measure_cpu,
    "throughput": measure_throughput,
    "quotas": measure_quotas,
    "queries": measure_queries,
}


def main() -> None:
    """Measure, print the record, and write it if requested."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only check that it runs")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="for results.md and charts")
    options = parser.parse_args()
    os.environ["no_proxy"] = HOST  # bypass a proxy in the environment
    logging.disable()  # peers log each 429
    warnings.simplefilter("ignore")
    results = Results(QUICK if options.quick else FULL)
    for name in options.only:
        print(f"Measuring: {name}", flush=True)
        MEASURES[name](results)
    record = render(results)
    print(f"\n{record}")
    if options.write is not None:
        (options.write / "results.md").write_text(record, "utf-8")
        if results.throughput:
            throughput_chart.draw(results.throughput, options.write / "throughput.png")
        if results.quotas:
            seconds = results.effort.quota_seconds
            quota_chart.draw(results.quotas, seconds, options.write / "quota.png")


if __name__ == "__main__":
    main()
