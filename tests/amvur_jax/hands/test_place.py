"""From the crop's camera into the photograph's, against scenes whose truth is known."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from amvur_jax.data.crop import crop_matrix
from amvur_jax.data.frame import project
from amvur_jax.hands.place import into_picture, ray, rigid, turn_between

K = np.array([[900.0, 0, 640], [0, 900, 360], [0, 0, 1]])
NONE = np.full((1, 21, 2), np.nan)
SIZE = 64


def scene(at, seed=0):
    points = np.random.default_rng(seed).uniform(-0.08, 0.08, (1, 40, 3)) + np.array(at)
    middle = project(points[0, :21], K).mean(0)
    return points, crop_matrix(middle, 300, SIZE)[None]


def test_a_crop_of_the_photographs_own_camera_changes_nothing():
    points, A = scene((0.35, -0.15, 0.7))
    found = into_picture(points, A @ K, A, SIZE, K, NONE)
    np.testing.assert_allclose(found, points, atol=2e-6)


def test_a_crop_seen_straight_is_turned_with_its_ray():
    points, A = scene((0.35, -0.15, 0.7))
    own = points - points[:, :21].mean(1, keepdims=True) + [0, 0, 0.7]
    f = A[0, 0, 0] * 900
    straight = np.array([[[f, 0, SIZE / 2], [0, f, SIZE / 2], [0, 0, 1]]])
    found = into_picture(own, straight, A, SIZE, K, NONE)[0]
    u, v = project(points[0, :21], K).mean(0)
    direction = np.array([(u - 640) / 900, (v - 360) / 900, 1])
    axis = np.cross([0, 0, 1], direction)
    angle = np.arctan(np.hypot(*direction[:2]))
    want = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle)
    turned = want.apply(own[0] - own[0, 0])
    np.testing.assert_allclose(found - found[0], turned, atol=1e-9)
    # from where it is it looks as it did, but for the crop's being flat and not on a sphere
    apart = (
        project(found[:21], K) @ A[0, :2, :2].T + A[0, :2, 2] - project(own[0, :21], straight[0])
    )
    assert np.linalg.norm(apart, axis=-1).mean() < 0.05 * SIZE


def test_distance_goes_with_the_focal_length():
    points, A = scene((0, 0, 0.7))
    longer = K * np.array([[3], [3], [1]])
    longer[:2, 2] = K[:2, 2]
    near = into_picture(points, A @ K, A, SIZE, K, NONE)[0]
    far = into_picture(points, A @ K, A, SIZE, longer, NONE)[0]
    assert far[:21, 2].mean() / near[:21, 2].mean() == pytest.approx(3, rel=0.03)


def test_landmarks_that_are_known_say_where_it_is():
    points, A = scene((0.1, 0.05, 0.7))
    moved = points + [0.1, -0.05, 0.3]
    marks = project(moved[0, :21], K)[None].copy()
    found = into_picture(points, A @ K, A, SIZE, K, marks)
    np.testing.assert_allclose(found, moved, atol=5e-6)


def test_the_shortest_turn_takes_one_ray_to_the_other():
    rng = np.random.default_rng(1)
    a, b = ray(K, rng.uniform(0, 1200, (2, 50, 2)))
    turn = turn_between(a, b)
    np.testing.assert_allclose(np.einsum("bij,bj->bi", turn, a), b, atol=1e-12)
    angles = Rotation.from_matrix(turn).magnitude()
    np.testing.assert_allclose(np.cos(angles), (a * b).sum(-1), atol=1e-12)
    np.testing.assert_allclose(
        turn_between(a, a), np.broadcast_to(np.eye(3), (50, 3, 3)), atol=1e-12
    )


def test_a_rigid_fit_equals_scipys():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(1, 30, 3))
    b = (
        Rotation.from_rotvec([0.5, -2, 1]).apply(a[0])[None]
        + [1, 2, 3]
        + 0.1 * rng.normal(size=a.shape)
    )
    R, t = rigid(a, b)
    want, _ = Rotation.align_vectors((b - b.mean(1))[0], (a - a.mean(1))[0])
    np.testing.assert_allclose(R[0], want.as_matrix(), atol=1e-7)
    np.testing.assert_allclose((a[0] @ R[0].T + t[0]).mean(0), b[0].mean(0), atol=1e-12)
    # of a mirror image it is a rotation all the same
    R, _ = rigid(a, a * [-1, 1, 1])
    assert np.linalg.det(R[0]) == pytest.approx(1)
