"""Joints without a mesh are those of the mesh, and wide poses are human."""

import numpy as np
import pytest

from mano_jax import load_hand
from mano_jax.limits import POSE_HIGH, POSE_LOW, sample_wide_pose
from mano_jax.skeleton import skeleton


@pytest.mark.parametrize("preset", ["ho3d", "freihand", "manopth"])
def test_joints_are_those_of_the_posed_mesh(preset):
    hand, rng = load_hand(), np.random.default_rng(0)
    pose = sample_wide_pose(rng, 7)
    pose[:, 0] = rng.normal(size=(7, 3))
    betas = rng.normal(size=(7, 10)).astype(np.float32)
    bones = skeleton(hand, preset)
    of_mesh = hand.with_shape(betas).with_pose(pose).joints_21(preset)
    np.testing.assert_allclose(bones.joints_21(pose, betas), of_mesh, atol=1e-7)
    of_mesh = hand.with_shape(None).with_pose(pose).joints_21(preset)
    np.testing.assert_allclose(bones.joints_21(pose), of_mesh, atol=1e-7)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="fingertips='nails'"):
        skeleton(load_hand(), "nails")


def test_wide_poses_stay_within_ten_degrees_of_the_limits():
    pose = sample_wide_pose(np.random.default_rng(0), 2000)[:, 1:]
    beyond = np.maximum(pose - POSE_HIGH[1:], POSE_LOW[1:] - pose).max()
    assert 0 < beyond <= np.deg2rad(10) + 1e-6
