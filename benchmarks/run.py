"""Measures this package beside its peers and the floor, and says which bars are met."""

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
    DASHSCOPE,
    FLOOR,
    OPENAI,
    RUST_ARRAY,
    SDK_THREADS,
    SYNC,
    Contender,
)
from report import render
from results import FULL, LATENCY, QUICK, Results
from stub import HOST

CHARTED = {FLOOR, SYNC, RUST_ARRAY, SDK_THREADS, OPENAI, DASHSCOPE}
"""Who is also measured at other latencies than that of the bars."""


@cache
def contenders() -> list[Contender]:
    """Return those that can run; who cannot is said once."""
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
        barred = latency == LATENCY
        results.throughput[latency] = rounds.run_rounds(
            [each for each in contenders() if barred or each in CHARTED],
            latency=latency,
            rounds=effort.rounds,
            texts=effort.texts if barred else effort.charted_texts,
        )


def measure_quotas(results: Results) -> None:
    """Measure what becomes of quotas."""
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
    """Measure, print the record, and write it where it is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="see whether it runs; judge nothing")
    parser.add_argument("--only", nargs="+", choices=MEASURES, default=list(MEASURES))
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="for results.md and charts")
    options = parser.parse_args()
    os.environ["no_proxy"] = HOST  # a proxy in the environment must not come between
    logging.disable()  # peers log each refusal
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
