"""A drawn batch shows the labels that there are, and no others."""

import numpy as np

from amvur_jax.data.sample import empty_sample
from amvur_jax.pictures.batch import TITLES, batch_picture, contact_sheet
from amvur_jax.pictures.draw import enlarge, sheet, skeleton
from mano_jax import load_hand


def test_labels_that_a_sample_lacks_are_not_drawn():
    rng = np.random.default_rng(0)
    samples = [empty_sample(i, 32) for i in range(2)]
    for sample in samples:
        sample["image"] = rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)
    joints = rng.uniform(0.2, 0.8, (21, 2)).astype(np.float32)
    samples[1] |= {"joints_2d": joints, "joints_valid": np.ones(21, np.float32)}
    batch = {name: np.stack([sample[name] for sample in samples]) for name in samples[0]}
    plain = [dict.fromkeys(TITLES, enlarge(sample["image"])) for sample in samples]
    plain[1]["2D joints"] = skeleton(enlarge(samples[1]["image"]), joints)
    assert (plain[1]["2D joints"] != plain[1]["picture"]).any()
    np.testing.assert_array_equal(batch_picture(batch, load_hand()), sheet(plain))


def test_a_contact_sheet_is_the_pictures_and_in_every_second_row_their_joints():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, (5, 32, 32, 3), dtype=np.uint8)
    joints = rng.uniform(0.2, 0.8, (5, 21, 2))
    made = contact_sheet({"image": images, "joints_2d": joints}, columns=2)  # one is left over
    side = len(enlarge(images[0]))
    assert made.shape == (2 * side, 2 * side, 3)
    np.testing.assert_array_equal(made[:side, side:], enlarge(images[1]))
    drawn = skeleton(enlarge(images[2]), joints[2])
    np.testing.assert_array_equal(made[side:, :side], drawn)
