"""Measures how fast a corpus is embedded again from the cache, each time by a new process.

Target: 10,000 texts of 1,024 dimensions at 20,000 per second through every interface, no request.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from contenders.contender import Contender
from contenders.ours import AEMBED, ARRAY, LLAMAINDEX, SYNC
from stub import DIMENSION, HOST, Stub

TARGET = 20_000
"""Minimum texts per second."""

INTERFACES = [SYNC, AEMBED, LLAMAINDEX, ARRAY]  # one protocol: its name is in the keys
FIRST = SYNC


def embed(contender: Contender, root: str, folder: str, count: int) -> float:
    """Embed a corpus with a cache, and return the texts per second."""
    texts = [f"Passage {number}. The wind rises, we must try to live." for number in range(count)]
    with contender.opened(root, cache=folder) as embed_texts:
        start = time.perf_counter()
        rows = embed_texts(texts)
        seconds = time.perf_counter() - start
    assert len(rows) == count
    assert all(len(row) == DIMENSION for row in rows)
    return count / seconds


def in_new_process(contender: Contender, root: str, folder: str, count: int) -> float:
    """Call `embed` in a new process."""
    arguments = [contender.name, root, folder, str(count)]
    done = subprocess.run(
        [sys.executable, __file__, "--once", *arguments], check=True, stdout=subprocess.PIPE
    )
    return float(json.loads(done.stdout))


def main() -> int:
    """Fill a cache, read it through every interface, and compare the figures with the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--runs", type=int, default=5, help="(%(default)s)")
    parser.add_argument("--once", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["no_proxy"] = HOST
    interfaces = {contender.name: contender for contender in INTERFACES}
    if arguments.once:
        name, root, folder, count = arguments.once
        print(json.dumps(embed(interfaces[name], root, folder, int(count))))
        return 0
    missed = False
    with tempfile.TemporaryDirectory() as folder, Stub(latency=0) as stub:
        plain = [
            in_new_process(FIRST, stub.root, str(Path(folder, f"{run}")), arguments.texts)
            for run in range(arguments.runs)
        ]
        filled = str(Path(folder, "0"))
        size = sum(path.stat().st_size for path in Path(filled).iterdir())
        print(f"{arguments.texts:,} texts of {DIMENSION} dimensions, {size / 1e6:.0f} MB on disk")
        print(f"{'first, without latency':44}{median(plain):10,.0f} texts/s")
        rates: dict[str, list[float]] = {name: [] for name in interfaces}
        before = stub.statistics().served
        for _ in range(arguments.runs):
            for name, interface in interfaces.items():
                rates[name].append(in_new_process(interface, stub.root, filled, arguments.texts))
        requests = stub.statistics().served - before
    for name, measured in rates.items():
        rate = median(measured)
        missed |= rate < TARGET
        print(f"{name:44}{rate:10,.0f} texts/s  {'met' if rate >= TARGET else 'MISSED'}")
    print(f"{requests} requests; target: none, and {TARGET:,} texts/s")
    return 1 if missed or requests else 0


if __name__ == "__main__":
    sys.exit(main())
