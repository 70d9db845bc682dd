"""Where fingers end."""

import numpy as np

from amvur_jax.detect.tips import SHARE, finger_ends, landmark_tips
from mano_jax.topology import FINGERS


def test_tips_are_moved_on_along_the_last_bones_and_nothing_else():
    landmarks = np.random.default_rng(0).normal(size=(3, 21, 2))
    landmarks[1, 5:9] = np.nan
    joints = finger_ends(landmarks)
    kept = [i for i in range(21) if i % 4 or i == 0]
    np.testing.assert_array_equal(joints[:, kept], landmarks[:, kept])
    for finger in range(len(FINGERS)):
        tip, last = 4 * finger + 4, 4 * finger + 3
        bone, seen = (x[:, tip] - x[:, last] for x in (joints, landmarks))
        np.testing.assert_allclose(SHARE * bone, seen, atol=1e-12)
    np.testing.assert_allclose(landmark_tips(joints), landmarks, atol=1e-12)
