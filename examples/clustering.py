"""Group headlines in two languages by subject, without specifying the number of subjects.

Run `python examples/clustering.py`. It calls the real service if DASHSCOPE_API_KEY is set;
otherwise it runs the bundled emulator, with a small model of meaning (extra `local`).
"""

import sys
from contextlib import ExitStack
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score, silhouette_score
from sklearn.preprocessing import normalize
from support.corpus import read
from support.plotting import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, label, picture, save
from support.service import origin, service_options

from qwen_embed import QwenEmbedder

COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, GREY, "black")


def main(folder: Path = Path("demo_output")) -> None:
    """Cluster the vectors as they are, then without the mean of their language; draw the latter."""
    headlines = read("headlines")
    subjects = [headline["subject"] for headline in headlines]
    languages = np.array([headline["language"] for headline in headlines])
    with ExitStack() as stack:
        service = service_options(stack, "e5")
        embedder = stack.enter_context(QwenEmbedder(dimension=512, normalize=True, **service))
        vectors = embedder.embed_documents([headline["text"] for headline in headlines]).dense
        print(f"Used: {embedder.usage}")

    # Vectors of one language share a direction, their mean, which may outweigh the subjects.
    # Subtracting it leaves the differences between subjects.
    means = {language: vectors[languages == language].mean(axis=0) for language in languages}
    centred = normalize(vectors - np.array([means[language] for language in languages]))

    for name, rows in {"as they are": vectors, "minus their language's mean": centred}.items():
        print(f"\nThe vectors {name}")
        found = cluster(rows)
        rand = [adjusted_rand_score(each, found) for each in (subjects, languages)]
        # 1 if the clusterings are identical, about 0 if they agree only by chance.
        print(f" Rand index: {rand[0]:.2f} with subjects, {rand[1]:.2f} with languages")
        for number in range(max(found) + 1):
            gists = [h["gist"] for h, own in zip(headlines, found, strict=True) if own == number]
            print(fill(f" {number + 1}. {', '.join(gists)}", 100, subsequent_indent="    "))

    note = f"Colour: cluster. Circle: English, square: Chinese. {origin(service)}"
    figure, axes = picture("Headlines in two languages, and their clusters", note, height=5.6)
    axes.set_axis_off()
    axes.margins(x=0.2, y=0.05)
    points = PCA(2, svd_solver="full").fit_transform(centred)
    for point, number, language in zip(points, found, languages, strict=True):
        axes.plot(*point, "o" if language == "en" else "s", color=COLOURS[number], ms=8)
    label(axes, points, [headline["gist"] for headline in headlines])
    save(figure, folder, "clustering")


def cluster(rows: NDArray[Any]) -> NDArray[Any]:
    """Return each row's cluster by k-means, with the number of clusters of the best silhouette."""
    tried = {
        count: KMeans(count, n_init=20, random_state=0).fit_predict(rows)
        for count in range(2, len(COLOURS) + 1)
    }
    silhouettes = {count: silhouette_score(rows, found) for count, found in tried.items()}
    best = max(silhouettes, key=silhouettes.__getitem__)
    print(" silhouette", ", ".join(f"of {n}: {value:.3f}" for n, value in silhouettes.items()))
    return tried[best]


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8", line_buffering=True)
    main(*map(Path, sys.argv[1:]))
