"""Measures the peak memory of a stream of a million texts."""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time

from contenders.ours import settings
from stub import DIMENSION, HOST, Stub

from qwen_embed import QwenEmbedder

TARGET = 300
"""Maximum megabytes of the whole process."""


def peak() -> float:
    """Return the peak memory of this process, in megabytes."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes / 1000 if sys.platform != "darwin" else kilobytes / 1e6


def main() -> int:
    """Stream, print the peak, and compare it with the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000, help="(%(default)s)")
    count = parser.parse_args().texts
    os.environ["no_proxy"] = HOST
    with Stub(latency=0) as stub, QwenEmbedder(**settings(stub.root)) as embedder:
        embedder.embed_query("loads what the first call loads")
        before, started = peak(), time.perf_counter()
        rows = 0
        for row in embedder.embed_stream(
            f"Passage {number}. The wind rises." for number in range(count)
        ):
            rows += len(row) == DIMENSION
        seconds = time.perf_counter() - started
    print(f"{rows:,} vectors of {DIMENSION} in {seconds:.0f} s, {rows / seconds:,.0f} texts/s")
    print(f"  peak {peak():.0f} MB, {before:.0f} MB of it before the stream; target: {TARGET} MB")
    return 0 if rows == count and peak() < TARGET else 1


if __name__ == "__main__":
    sys.exit(main())
