"""Rotations against the matrix exponential, laws, and finite gradients where they are singular."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mano_jax.rotations import rotation_matrix, rotation_vector


def _exponential(rotvec):
    """exp([r]) by its series, float64."""
    x, y, z = np.asarray(rotvec, np.float64)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    term, total = np.eye(3), np.eye(3)
    for n in range(1, 60):
        term = term @ cross / n
        total = total + term
    return total


JACOBIAN = jax.jit(jax.jacobian(rotation_matrix))
ROUND_TRIP = jax.jit(jax.jacobian(lambda r: rotation_vector(rotation_matrix(r))))
AXIS = np.array([0.36, -0.48, 0.8])


@pytest.mark.parametrize("angle", [0, 1e-12, 1e-7, 9e-5, 1.1e-4, 1e-3, 0.5, 2.0, 3.1, np.pi, 6.0])
def test_matrix_is_the_exponential(angle):
    with jax.default_matmul_precision("highest"):
        matrix = jax.jit(rotation_matrix)(jnp.asarray(AXIS * angle, jnp.float32))
    expected = _exponential(np.asarray(AXIS * angle, np.float32))
    np.testing.assert_allclose(matrix, expected, atol=3e-7)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-6)


@pytest.mark.parametrize("angle", [0, 1e-9, 1e-5, 9e-5, 2e-4, 0.3, 1.5, 3.0, 3.141, 3.14159])
@pytest.mark.parametrize("axis", [*np.eye(3), *-np.eye(3), AXIS, [-0.6, 0.8, 0.0]])
def test_vector_inverts_matrix(axis, angle):
    rotvec = np.asarray(axis) * angle
    matrix = _exponential(rotvec).astype(np.float32)
    found = np.asarray(jax.jit(rotation_vector)(jnp.asarray(matrix)))
    if angle > 3.14:
        # Next to pi both signs are the same rotation.
        found = found * np.sign(found @ rotvec)
    np.testing.assert_allclose(found, rotvec, atol=2e-6)
    np.testing.assert_allclose(_exponential(found), matrix, atol=2e-6)


@pytest.mark.parametrize("angle", [0, 1e-8, 1e-4, 1.0, 3.1])
def test_gradients_are_finite_and_right(angle):
    rotvec = jnp.asarray(AXIS * angle, jnp.float32)
    jacobian = np.asarray(JACOBIAN(rotvec))
    h = 1e-5
    for k in range(3):
        d = np.eye(3)[k] * h
        r = np.asarray(rotvec, np.float64)
        expected = (_exponential(r + d) - _exponential(r - d)) / (2 * h)
        np.testing.assert_allclose(jacobian[..., k], expected, atol=1e-5)
    round_trip = ROUND_TRIP(rotvec)
    np.testing.assert_allclose(round_trip, np.eye(3), atol=2e-4 if angle < 3 else 5e-3)


def test_batch_axes_and_jit():
    rotvec = jax.random.normal(jax.random.key(0), (2, 5, 3))
    matrix = jax.jit(rotation_matrix)(rotvec)
    assert matrix.shape == (2, 5, 3, 3)
    one_by_one = jax.vmap(jax.vmap(rotation_matrix))(rotvec)
    np.testing.assert_allclose(matrix, one_by_one, atol=1e-6)
    assert rotation_vector(matrix).shape == (2, 5, 3)
