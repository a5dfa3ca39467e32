"""Find the records that do not belong in a catalogue, with a threshold learned from those that do.

Run `python examples/anomaly_detection.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, with a small model of meaning (extra `local`).
"""

import sys
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path

import numpy as np
from support.corpus import read
from support.plotting import BLUE, GREY, ORANGE, RED, picture, save
from support.service import origin, service_options

from qwen_embed import QwenEmbedder


def main(folder: Path = Path("demo_output")) -> None:
    """Learn normal records, set the threshold on other normal records, and test it on new ones."""
    strays = read("strays")
    # Three disjoint sets, each with every kind of part: the reference, the records that set the
    # threshold, and new records that show how many false alarms it causes.
    reference, held_out, new = [], [], []
    rng = np.random.default_rng(0)
    for _, kind in groupby(read("products"), key=lambda part: part["chapter"]):
        texts = rng.permutation([part["text"] for part in kind]).tolist()
        reference += texts[:3]
        held_out += texts[3:6]
        new += texts[6:8]
    with ExitStack() as stack:
        service = service_options(stack, "e5")
        embedder = stack.enter_context(QwenEmbedder(dimension=512, normalize=True, **service))
        known = embedder.embed_documents(reference).dense

        def distances(texts: list[str]) -> np.ndarray:
            """Return the distance of each text to the nearest known one: 1 minus the cosine."""
            return 1 - (embedder.embed_documents(texts).dense @ known.T).max(axis=1)

        of_held_out, of_new = distances(held_out), distances(new)
        of_strays = distances([stray["text"] for stray in strays])
        print(f"Used: {embedder.usage}")

    # A normal record is farther than the farthest of n others from the same source about once in
    # n + 1 times: this is the expected rate of false alarms (split conformal prediction).
    threshold, expected = of_held_out.max(), f"about 1 of {len(held_out) + 1} is expected"
    alarms, hits = (of_new > threshold).sum(), (of_strays > threshold).sum()
    print(f"\nThreshold, set by {len(held_out)} records that belong: {threshold:.3f}")
    print(f"False alarms: {alarms} of {len(new)} new records that belong; {expected}")
    print(f"Found: {hits} of {len(strays)} records that do not\n")
    for distance, stray in sorted(zip(of_strays, strays, strict=True), key=lambda each: each[0]):
        verdict = "found" if distance > threshold else "MISSED"
        print(f" {verdict:6} {distance:.3f}  {stray['gist']}: {stray['text']}")

    note = f"Each point is a record; the reference is not shown. {origin(service)}"
    figure, axes = picture("Records that do not belong, by their distance", note, height=5.6)
    order = np.argsort(of_strays)
    rows = [
        (np.linspace(-0.4, 0.4, len(held_out)), of_held_out, BLUE, "o"),
        (np.linspace(1.1, 1.9, len(new)), of_new, ORANGE, "s"),
        (2.7 + 0.6 * np.arange(len(strays)), of_strays[order], RED, "^"),
    ]
    for heights, values, colour, marker in rows:
        axes.plot(values, heights, marker, color=colour, ms=7, alpha=0.8)
    for height, place in zip(rows[-1][0], order, strict=True):
        axes.text(of_strays[place], height, f"  {strays[place]['gist']}", va="center", fontsize=11)
    axes.axvline(threshold, color=GREY, ls="--")
    axes.text(threshold, rows[-1][0][-1], f"  threshold {threshold:.3f}", color=GREY, fontsize=11)
    names = ["set the\nthreshold", "belong", "do not\nbelong"]
    axes.set_yticks([0, 1.5, rows[-1][0].mean()], names)
    axes.set_xlim(0, of_strays.max() * 1.3)
    axes.set_xlabel("distance to the nearest known record (1 - cosine)", fontsize=12)
    save(figure, folder, "anomaly_detection")


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main(*map(Path, sys.argv[1:]))
