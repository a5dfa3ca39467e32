import numpy as np
import pytest

from qwen_embed.emulator.vectors.projection import project
from qwen_embed.models import MODELS

DIMENSIONS = sorted({dimension for model in MODELS.values() for dimension in model.dimensions})
BASES = [384, 1024]


def unit_vectors(count, base):
    vectors = np.random.default_rng(7).standard_normal((count, base))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("dimension", DIMENSIONS)
@pytest.mark.parametrize("base", BASES)
def test_every_dimension_of_the_models_has_unit_vectors(base, dimension):
    projected = project(unit_vectors(5, base), dimension, seed=1)
    assert projected.shape == (5, dimension)
    assert projected.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(projected, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize(
    ("base", "dimension"),
    [(base, dimension) for base in BASES for dimension in DIMENSIONS if dimension >= base],
)
def test_cosines_are_preserved_if_the_dimension_is_at_least_the_base(base, dimension):
    vectors = unit_vectors(8, base)
    projected = project(vectors, dimension, seed=1)
    np.testing.assert_allclose(projected @ projected.T, vectors @ vectors.T, atol=1e-5)


@pytest.mark.parametrize("base", BASES)
def test_cosines_are_roughly_preserved_if_the_dimension_is_smaller(base):
    vectors = unit_vectors(8, base)
    vectors[1:] = vectors[1:] * 0.6 + vectors[0] * 0.8
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    projected = project(vectors, 256, seed=1)
    assert abs(projected @ projected.T - vectors @ vectors.T).max() < 0.25


def test_a_projection_is_the_same_every_time():
    vectors = unit_vectors(2, 384)
    np.testing.assert_array_equal(project(vectors, 64, seed=1), project(vectors, 64, seed=1))


def test_a_projection_does_not_depend_on_the_other_vectors():
    vectors = unit_vectors(20, 1024)
    alone = np.concatenate([project(vector[None], 1024, seed=1) for vector in vectors])
    np.testing.assert_array_equal(project(vectors, 1024, seed=1), alone)


def test_another_seed_gives_unrelated_vectors():
    vectors = unit_vectors(1, 384)
    assert abs(project(vectors, 1024, seed=1)[0] @ project(vectors, 1024, seed=2)[0]) < 0.2
