"""The mean hand: a rotation mean that obeys its laws, and the hand itself where all labels agree."""

import jax.numpy as jnp
import numpy as np

import mano_jax
from amvur_jax.data.frame import Frame
from amvur_jax.scoring.mean_hand import mean_hand, mean_rotation
from mano_jax.rotations import rotation_matrix


class OneLabel:
    """A data set whose frames all have the same labels."""

    def __init__(self, hand, pose, betas):
        posed = hand.with_shape(jnp.asarray(betas)).with_pose(jnp.asarray(pose.reshape(16, 3)))
        self.joints = np.asarray(posed.joints_21("ho3d")) + [0, 0, 0.6]
        self.labels = {"pose": pose, "betas": betas, "trans": np.array([0, 0, 0.6])}
        self.labels["root_cam"] = self.joints[0]

    def __len__(self):
        return 5

    def frame(self, i):
        K = np.array([[300.0, 0, 80], [0, 300, 60], [0, 0, 1]])
        image = np.zeros((120, 160, 3), np.uint8)
        box = np.array([60, 40, 100, 80])
        return Frame("A/0", i, image, K, box, self.joints[0], self.joints, **self.labels)


def test_the_mean_of_turns_to_both_sides_is_between_them():
    rng = np.random.default_rng(0)
    centre, turns = rng.normal(size=3), rng.normal(0, 0.4, (6, 3))
    rotations = np.asarray(
        rotation_matrix(jnp.asarray(np.concatenate([turns, -turns])))
        @ rotation_matrix(jnp.asarray(centre))
    )
    mean = mean_rotation(rotations)
    np.testing.assert_allclose(mean, rotation_matrix(jnp.asarray(centre)), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(mean), 1, atol=1e-6)


def test_where_all_labels_agree_the_mean_hand_is_that_hand():
    rng = np.random.default_rng(1)
    hand = mano_jax.load_hand()
    dataset = OneLabel(hand, rng.normal(0, 0.3, 48), rng.normal(0, 1, 10))
    mean = mean_hand(dataset, hand)
    np.testing.assert_allclose(mean.joints_cam, dataset.joints - dataset.joints[0], atol=1e-5)
    assert mean.vertices_cam.shape == (778, 3)
    assert np.isfinite(mean.joints_2d).all()
