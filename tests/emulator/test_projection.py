import numpy as np
import pytest

from qwen_embed.emulator.vectors.projection import project
from qwen_embed.models import MODELS

DIMENSIONS = sorted({dimension for model in MODELS.values() for dimension in model.dimensions})
BASES = [384, 1024]


def unit_rows(count, base):
    rows = np.random.default_rng(7).standard_normal((count, base))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("base", BASES)
def test_every_dimension_of_the_table_has_unit_rows(base, dimension):
    projected = project(unit_rows(5, base), dimension, seed=1)
    assert projected.shape == (5, dimension)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("base", "dimension"),
    [(base, dimension) for base in BASES for dimension in DIMENSIONS if dimension >= base],
)
def test_cosines_survive_where_the_dimension_is_at_least_the_base(base, dimension):
    rows = unit_rows(8, base)
    projected = project(rows, dimension, seed=1)
    np.testing.assert_allclose(projected @ projected.T, rows @ rows.T, atol=1e-5)


@pytest.mark.parametrize("base", BASES)
def test_cosines_survive_about_where_the_dimension_is_smaller(base):
    rows = unit_rows(8, base)
    rows[1:] = rows[1:] * 0.6 + rows[0] * 0.8
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    projected = project(rows, 256, seed=1)
    assert abs(projected @ projected.T - rows @ rows.T).max() < 0.25


def test_a_projection_is_the_same_every_time():
    rows = unit_rows(2, 384)
    np.testing.assert_array_equal(project(rows, 64, seed=1), project(rows, 64, seed=1))


def test_a_projection_of_a_row_does_not_depend_on_the_rows_beside_it():
    rows = unit_rows(20, 1024)
    alone = np.concatenate([project(row[None], 1024, seed=1) for row in rows])
    np.testing.assert_array_equal(project(rows, 1024, seed=1), alone)


def test_another_seed_gives_unrelated_vectors():
    rows = unit_rows(1, 384)
    assert abs(project(rows, 1024, seed=1)[0] @ project(rows, 1024, seed=2)[0]) < 0.2
