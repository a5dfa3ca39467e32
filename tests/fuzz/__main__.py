"""Runs all fuzzers round after round, each with a fresh seed, until the time is over or one fails.

python tests/fuzz --seconds 600
python tests/fuzz --seed 123        # that one round again
"""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).parent
SECONDS_PER_TEST = 1800


def run_round(seed: int, chosen: list[str]) -> int:
    print(f"seed {seed}", flush=True)
    command = [
        *(sys.executable, "-m", "pytest", *(chosen or [str(HERE)]), "--exitfirst"),
        *("--hypothesis-profile=long", f"--hypothesis-seed={seed}"),
        *(f"--timeout={SECONDS_PER_TEST}", "-p", "no:cacheprovider"),
    ]
    return subprocess.run(command, cwd=HERE.parent.parent, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="begin no round after these")
    parser.add_argument("--seed", type=int, help="run one round with this seed")
    parser.add_argument("tests", nargs="*", help="files or tests to run; all where none is named")
    given = parser.parse_args()
    if given.seed is not None:
        return run_round(given.seed, given.tests)
    end = time.monotonic() + given.seconds
    while time.monotonic() < end:
        seed = secrets.randbelow(2**32)
        if status := run_round(seed, given.tests):
            print(f"failed; the same round again: make fuzz SEED={seed}", flush=True)
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main())
