"""Made-up skeletons obey their camera, and what a detector would make of them is off by what it should."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amvur_jax.models.cameras import relative_depth
from amvur_jax.training import losses
from amvur_jax.training.skeletons import disturbed, draw_skeletons, pose_bank
from mano_jax import load_hand
from mano_jax.skeleton import skeleton

COUNT = 400


@pytest.fixture(scope="module")
def labels():
    bones = skeleton(load_hand(), "ho3d")
    return draw_skeletons(jax.random.key(0), pose_bank(0, 500), bones, COUNT)


def test_all_joints_are_before_the_camera_and_in_the_crop(labels):
    assert labels.joints[..., 2].min() > 0.02
    assert labels.xy.min() > -0.5 and labels.xy.max() < 1.5
    assert np.mean((labels.xy > 0) & (labels.xy < 1)) > 0.99


def test_xy_and_depth_are_of_one_camera(labels):
    """The focal length that x tells is the one that y tells; with it the depths give back the joints."""
    joints = np.asarray(labels.joints, np.float64)
    ray = joints[..., :2] / joints[..., 2:]
    focal = np.sum(ray * (labels.xy - 0.5), (1, 2)) / np.sum(ray**2, (1, 2))
    np.testing.assert_allclose(ray * focal[:, None, None] + 0.5, labels.xy, atol=1e-4)
    behind = np.asarray(labels.depth) * joints[:, :1, 2] / focal[:, None]
    np.testing.assert_allclose(behind, joints[..., 2] - joints[:, :1, 2], atol=1e-4)
    assert 1.1 < focal.min() < 1.5 and 4 < focal.max() < 5.1
    np.testing.assert_allclose(
        relative_depth(labels.joints, jnp.asarray(focal)), labels.depth, atol=1e-4
    )


def test_rotations_are_uniform(labels):
    """Of uniform rotations each entry has mean 0 and mean square 1/3."""
    entries = np.asarray(labels.rotation).reshape(COUNT, 9)
    np.testing.assert_allclose(entries.mean(0), 0, atol=4 * np.sqrt(1 / 3 / COUNT))
    np.testing.assert_allclose((entries**2).mean(0), 1 / 3, atol=0.07)


def test_a_detector_is_off_by_a_few_hundredths_of_the_hand(labels):
    one = jnp.ones((COUNT, 21))
    seen = disturbed(jax.random.key(1), labels.xy, labels.depth, one, one[:, 0])
    span = np.ptp(np.asarray(labels.xy), axis=1).max(-1)[:, None]
    off = np.linalg.norm(seen.xy - labels.xy, axis=-1) / span
    assert 0.01 < np.median(off) < 0.06
    there = np.asarray(seen.weight) > 0
    assert seen.weight.max() <= 1 and 0.9 < there.mean() < 0.98
    assert (seen.depth_weight <= seen.weight).all() and 0.6 < np.mean(seen.depth_weight > 0) < 0.8
    # Most are whole: what is missing is so in a fifth of the hands.
    assert np.mean(there.min(1) == 0) < 0.25


def test_a_detector_knows_how_far_it_is_off(labels):
    """Hands of one confidence are off on the mean by what it stands for, whichever way they are wrong."""
    one = jnp.ones((COUNT, 21))
    seen = [
        disturbed(jax.random.key(i), labels.xy, labels.depth, one, one[:, 0]) for i in range(10)
    ]
    span = np.ptp(np.asarray(labels.xy), axis=1).max(-1)
    off = np.concatenate([np.linalg.norm(s.xy - labels.xy, axis=-1).mean(-1) / span for s in seen])
    weight = np.concatenate([s.weight.max(-1) for s in seen])
    told = 0.05 * np.sqrt(1 / weight - 1)  # `confidence` backwards
    assert np.corrcoef(np.log(off), np.log(told))[0, 1] > 0.8
    for low, high in ((0.01, 0.03), (0.03, 0.08), (0.08, 0.2)):
        chosen = (told > low) & (told < high)
        assert 0.6 < off[chosen].mean() / told[chosen].mean() < 1.5, (low, high)


def test_what_is_not_labelled_is_missing(labels):
    valid = jnp.ones((COUNT, 21)).at[::2].set(0)
    seen = disturbed(jax.random.key(1), labels.xy, labels.depth, valid, jnp.zeros(COUNT))
    assert seen.weight[::2].max() == 0 and np.mean(seen.weight[1::2] > 0) > 0.9
    assert seen.depth_weight.max() == 0


def test_the_pose_terms_are_zero_at_the_truth_and_mean_distances_else(labels):
    few = jax.tree.map(lambda x: x[:4], labels)
    joints = np.asarray(few.joints, np.float64)
    ray = joints[..., :2] / joints[..., 2:]
    focal = np.sum(ray * (few.xy - 0.5), (1, 2)) / np.sum(ray**2, (1, 2))
    camera = jnp.asarray(np.column_stack([focal, 0 * focal + 0.5] * 2))
    turns = jnp.stack([few.joints] * 3), jnp.stack([few.rotation] * 3)
    truth = few.joints, few.xy, few.rotation
    one = jnp.ones((4, 21))
    terms = losses.pose_head(*turns, camera, *truth, one, one[:, 0], one[:, 0])
    assert max(terms.values()) < 1e-5
    # A hand that is turned as a whole has its fingers right.
    quarter = jnp.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    wrong = turns[0] @ quarter.T, quarter @ turns[1]
    terms = losses.pose_head(*wrong, camera, *truth, one, one[:, 0], one[:, 0])
    assert terms["pose_fingers"] < 1e-5 and min(terms["pose_joints"], terms["pose_rotation"]) > 0.1
    # Of three answers the last alone is off: 3 cm in each coordinate of the tips.
    moved = turns[0].at[2, :, 4::4].add(0.03)
    valid, has = one.at[0].set(0), jnp.array([1.0, 1, 0, 0])
    terms = losses.pose_head(moved, turns[1], camera, *truth, valid, has, has)
    # In decimetres, times the last answer's weight, 5 of 21 joints, one of the two labelled hands.
    assert terms["pose_joints"] == pytest.approx(0.3 * 0.5 * 5 / 21 / 2, rel=1e-4)
    assert terms["pose_rotation"] < 1e-6
    # Lengths do not change with the axes they are told in: between the sum's least and its most.
    assert (
        1 / np.sqrt(3) < terms["pose_fingers"] / losses.FINGERS / terms["pose_joints"] < np.sqrt(3)
    )
