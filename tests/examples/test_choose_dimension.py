"""Choosing a dimension: recall, storage and price of each."""

from __future__ import annotations

import re

import pytest

from tests.support.drawings import is_drawn

EXAMPLE = "choose_dimension"


def test_it_says_that_the_vectors_are_not_qwens(output):
    assert "local emulator and are NOT Qwen's" in output


def test_it_draws(output, folder):
    assert is_drawn(folder / f"{EXAMPLE}.png", height=750)


ROW = r"^ +(\d+) +(\d\.\d{3}) +(\d\.\d{3}) +(\d+\.\d{3}) GB  (\d+\.\d{4}) CNY$"


@pytest.fixture(scope="module")
def rows(output):
    """The table: dimension, recall, share of the longest's ten, gigabytes, price."""
    return [tuple(map(float, row)) for row in re.findall(ROW, output, re.MULTILINE)]


def test_every_dimension_of_the_model_is_measured(rows):
    assert [row[0] for row in rows] == [2048, 1536, 1024, 768, 512, 256, 128, 64]


def test_a_shorter_vector_finds_less(rows):
    recalls, shares = [row[1] for row in rows], [row[2] for row in rows]
    assert recalls == sorted(recalls, reverse=True)
    assert shares == sorted(shares, reverse=True)
    assert recalls[0] > 0.3
    assert recalls[-1] < 0.2


def test_the_emulator_loses_nothing_down_to_its_own_dimension(rows):
    assert [row[2] for row in rows[:3]] == [1, 1, 1]
    assert rows[3][2] < 1


def test_storage_is_four_bytes_a_number(rows):
    assert [row[3] for row in rows] == [round(row[0] * 4 / 1000, 3) for row in rows]


def test_the_price_is_that_of_the_tokens_whatever_the_dimension(rows):
    assert len({row[4] for row in rows}) == 1


def test_it_says_that_the_curve_is_not_qwens(output):
    assert "and says nothing about Qwen's" in output


def test_a_second_run_finds_the_same(output, folder, served):
    again, other = served(EXAMPLE)  # with a key, so that the note on the emulator is not printed

    origin, *found = again.output.replace(other.name, folder.name).splitlines()
    assert origin.startswith("DASHSCOPE_API_KEY is set")
    assert len(re.findall(ROW, again.output, re.MULTILINE)) == 8
    assert [line for line in found if line not in output.splitlines()] == []
