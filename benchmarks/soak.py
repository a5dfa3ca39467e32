"""Embeds a million texts while one request in fifty fails, and watches the memory."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from langchain_qwen_embed import QwenEmbeddings
from qwen_embed.emulator import Emulator

API_KEY = "sk-soak"
DIMENSION = 64
FAULTS = 0.02
CALL = 10_000
"""Texts of one call."""
GROWTH = 1.1
"""Maximum memory at the end, as a multiple of that after the first tenth."""
CHART = Path(__file__).with_name("soak.png")


class Hashed:
    """An engine that takes no time: a text's vector is one of a thousand, by its checksum.

    Attributes:
        dimension: The length of its vectors.
    """

    dimension = DIMENSION

    def __init__(self) -> None:
        rows = np.random.default_rng(0).standard_normal((1000, DIMENSION))
        self._rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def embed(
        self, texts: Sequence[str], *, text_type: str, instruct: str | None
    ) -> NDArray[np.float64]:
        """Return one unit vector per text."""
        del text_type, instruct
        chosen: NDArray[np.float64] = self._rows[[row_of(text) for text in texts]]
        return chosen


def row_of(text: str) -> int:
    """Return the index of a text's vector."""
    return zlib.crc32(text.encode()) % 1000


def serve() -> None:
    """Run the emulator until standard input ends, as it does when the parent exits."""
    with Emulator(api_key=API_KEY, engine=Hashed()) as service:
        service.inject_faults(FAULTS)
        print(service.native_url, flush=True)
        while sys.stdin.readline():
            service.clear()  # the recorded requests


@contextmanager
def service() -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """Run the emulator in its own process, and yield its address."""
    with subprocess.Popen(
        [sys.executable, __file__, "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        yield process.stdout.readline().strip(), process
        process.stdin.close()


def resident() -> float:
    """Return the memory of this process, in megabytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


@dataclass(frozen=True)
class Sample:
    """The memory after a number of texts."""

    texts: int
    megabytes: float


def soak(count: int) -> list[Sample]:
    """Embed distinct texts, check every vector, and return samples of the memory.

    Raises:
        ValueError: If a vector is missing or another text's.
    """
    first_values: dict[int, float] = {}
    samples = []
    with (
        service() as (url, process),
        QwenEmbeddings(
            api_key=API_KEY, base_url=url, dimension=DIMENSION, max_retries=20
        ) as embeddings,
    ):
        assert process.stdin
        for start in range(0, count, CALL):
            texts = [f"short text {number}" for number in range(start, min(start + CALL, count))]
            rows = embeddings.embed_documents(texts)
            if len(rows) != len(texts):
                raise ValueError(f"{len(rows)} vectors for {len(texts)} texts")
            for text, row in zip(texts, rows, strict=True):
                if first_values.setdefault(row_of(text), row[0]) != row[0]:
                    raise ValueError(f"{text!r} has the vector of another text")
            del rows
            samples.append(Sample(start + len(texts), resident()))
            process.stdin.write("\n")
            process.stdin.flush()
        usage = embeddings.usage
    print(f"{usage}")
    return samples


def draw(samples: Sequence[Sample], path: Path) -> None:
    """Draw the memory over the texts."""
    import matplotlib as mpl  # noqa: PLC0415 -- slow to load, and only needed here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8, 3), dpi=100)
    axes.plot([each.texts / 1e6 for each in samples], [each.megabytes for each in samples])
    axes.set(
        xlabel="million texts",
        ylabel="MB of memory",
        ylim=(0, None),
        title=f"A soak test with {FAULTS:.0%} of all requests failing",
    )
    axes.grid(visible=True, alpha=0.3)
    figure.tight_layout()
    figure.savefig(path)


def main() -> int:
    """Soak, draw the memory, and compare its growth with the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument("--write", type=Path, default=CHART, help="the chart (%(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve()
        return 0
    started = time.perf_counter()
    samples = soak(options.texts)
    seconds = time.perf_counter() - started
    tenth, last = samples[len(samples) // 10], samples[-1]
    draw(samples, options.write)
    print(f"{last.texts:,} correct vectors in {seconds:.0f} s")
    print(f"  {tenth.megabytes:.0f} MB after a tenth, {last.megabytes:.0f} MB at the end")
    flat = last.megabytes <= GROWTH * tenth.megabytes
    print(f"  target: at most {GROWTH:g} times as much: {'met' if flat else 'MISSED'}")
    return 0 if flat else 1


if __name__ == "__main__":
    sys.exit(main())
