"""Joints without a mesh are those of the mesh, and wide poses are human."""

import numpy as np
import pytest

from mano_jax import load_hand
from mano_jax.limits import POSE_HIGH, POSE_LOW, sample_pose, sample_wide_pose
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


@pytest.mark.parametrize(
    ("sample", "mean", "worst"), [(sample_pose, 1.04, 6.5), (sample_wide_pose, 1.27, 10.7)]
)
def test_joints_regressed_from_the_posed_mesh_are_off_by_the_floor_of_the_parity_document(
    sample, mean, worst
):
    """The network regresses its joints; no error against the chain's joints falls below this."""
    hand, pose = load_hand(), sample(np.random.default_rng(0), 500)
    posed = hand.with_shape(None).with_pose(pose)
    regressed = hand.joint_regressor_21("ho3d") @ posed.vertices
    off = 1000 * np.linalg.norm(regressed - posed.joints_21("ho3d"), axis=-1)
    assert off.mean() == pytest.approx(mean, rel=0.03)
    assert off.max() == pytest.approx(worst, rel=0.03)
    assert off[:, 4::4].max() < 1e-3  # the tips are vertices of the mesh
    flat = hand.with_shape(None).with_pose(np.zeros((16, 3), np.float32))
    at_rest = hand.joint_regressor_21("ho3d") @ flat.vertices
    np.testing.assert_allclose(at_rest, flat.joints_21("ho3d"), atol=1e-6)
