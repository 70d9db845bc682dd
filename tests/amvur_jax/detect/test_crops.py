"""A detector's joints in the network's crops."""

import dataclasses
import types

import numpy as np
import pytest

from amvur_jax.data.frame import project
from amvur_jax.data.open import open_dataset
from amvur_jax.data.sample import make_sample
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.detect.crops import joints_of
from amvur_jax.detect.detector import DetectedHand, expected_error
from amvur_jax.detect.tips import landmark_tips


@pytest.mark.parametrize("side", ["right", "left"])
def test_true_landmarks_lie_where_the_labels_of_the_crop_do(tmp_path, side):
    """Sample and detector go two ways from the picture into the crop; a left hand's is mirrored."""
    make_synthetic(tmp_path, 2, 1)
    dataset = open_dataset(tmp_path)
    frames = [dataclasses.replace(dataset.frame(i), side=side) for i in range(2)]
    samples = [make_sample(frame, 64, crop_scale=0.7) for frame in frames]
    asked = []

    class Knowing:
        def landmarks(self, image, box, side):
            frame = frames[len(asked)]
            asked.append((box, side))
            marks = landmark_tips(project(frame.joints_cam, frame.K))
            return DetectedHand(side, 0.9, box, marks, np.full(21, 2.0), np.zeros((21, 3)))

    given = joints_of(
        Knowing(),
        types.SimpleNamespace(frame=lambda i: frames[i]),
        [0, 1],
        np.stack([s["crop"] for s in samples]),
    )
    wanted = np.stack([s["joints_2d"] for s in samples]) * 64
    np.testing.assert_allclose(given.joints, wanted, atol=1e-3)
    assert [side for _, side in asked] == [side, side]
    # A length of the picture, in the crop as long as the crop's focal length says; never negative.
    zoom = [s["K"][0, 0] / f.K[0, 0] for s, f in zip(samples, frames)]
    np.testing.assert_allclose(given.depth, 2 * np.array(zoom)[:, None] * np.ones(21), rtol=0.05)
    np.testing.assert_allclose(given.off, expected_error(0.9))


def test_the_less_sure_the_farther_off():
    off = expected_error(np.linspace(0, 1, 11))
    assert (np.diff(off) < 0).all() and 0 < off[-1] < 0.05
