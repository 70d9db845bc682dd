"""The recipe's skinning: laws of rotations, and what dual quaternions promise."""

import numpy as np

from mano_jax.skinning import between, blend_dual_quaternion, blend_linear, chain, rotation


def _random(n, seed=0):
    rng = np.random.default_rng(seed)
    return rotation(rng.normal(size=(n, 3)), rng.uniform(-3, 3, n)), rng.normal(size=(n, 3))


def test_rotation_is_one_and_between_turns_a_into_b():
    matrices, vectors = _random(20)
    np.testing.assert_allclose(matrices @ matrices.swapaxes(1, 2), [np.eye(3)] * 20, atol=1e-12)
    np.testing.assert_allclose(np.linalg.det(matrices), 1.0)
    np.testing.assert_allclose(rotation((0, 0, 2), np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
    for a, b in zip(vectors[:10], vectors[10:]):
        turned = between(a, b) @ a
        np.testing.assert_allclose(turned / np.linalg.norm(a), b / np.linalg.norm(b), atol=1e-9)
    np.testing.assert_allclose(between(a, a), np.eye(3), atol=1e-9)


def test_both_blends_are_rigid_where_one_bone_rules():
    rotations, offsets = _random(5)
    vertices = np.random.default_rng(1).normal(size=(5, 3))
    expected = np.einsum("jab,jb->ja", rotations, vertices) + offsets
    linear, matrices = blend_linear(vertices, np.eye(5), rotations, offsets)
    np.testing.assert_allclose(linear, expected, atol=1e-12)
    np.testing.assert_allclose(matrices, rotations, atol=1e-12)
    blended = blend_dual_quaternion(vertices, np.eye(5), rotations, offsets)
    np.testing.assert_allclose(blended, expected, atol=1e-12)


def test_dual_quaternions_keep_the_distance_to_a_bent_joint():
    """Half a right angle exactly, where linear blending shrinks by cos 45 degrees."""
    bend = rotation((0.0, 0.0, 1.0), np.pi / 2)
    rotations, _ = chain(np.zeros((2, 3)), (-1, 0), np.stack([np.eye(3), bend]))
    vertex, weights = np.array([[0.0, 0.01, 0.0]]), np.array([[0.5, 0.5]])
    half = rotation((0.0, 0.0, 1.0), np.pi / 4) @ vertex[0]
    blended = blend_dual_quaternion(vertex, weights, rotations, np.zeros((2, 3)))
    np.testing.assert_allclose(blended[0], half, atol=1e-12)
    linear, _ = blend_linear(vertex, weights, rotations, np.zeros((2, 3)))
    np.testing.assert_allclose(np.linalg.norm(linear), 0.01 * np.cos(np.pi / 4))
