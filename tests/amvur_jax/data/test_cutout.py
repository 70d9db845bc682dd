"""A hand before a plain wall is cut out where it is, and nothing else is."""

import cv2
import numpy as np
import pytest

from amvur_jax.data.augment import Augmentation
from amvur_jax.data.cutout import hand_mask, relay
from amvur_jax.data.frame import Frame
from amvur_jax.data.sample import make_sample

SIZE = 120


def photo(wall=(200, 200, 205)):
    """An arm and five fingers of skin before a wall that is lit from the middle; the truth, and 21 joints."""
    hand = np.zeros((SIZE, SIZE), np.uint8)
    cv2.ellipse(hand, (60, 70), (20, 18), 0, 0, 360, 255, -1)
    cv2.rectangle(hand, (48, 80), (72, SIZE), 255, -1)
    joints = [(60.0, 90.0)]
    for x in (36, 48, 60, 72, 84):
        cv2.line(hand, (60, 70), (x, 25), 255, 7)
        joints += [(60 + (x - 60) * t, 70 - 45 * t) for t in (0.3, 0.5, 0.7, 0.95)]
    y, x = np.mgrid[:SIZE, :SIZE]
    glow = 30 * np.exp(-((x - 60) ** 2 + (y - 50) ** 2) / 1500)
    image = np.clip(np.array(wall) + glow[..., None], 0, 255)
    image[hand > 0] = (190, 140, 110)
    image += np.random.default_rng(0).normal(0, 2, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), hand > 0, np.array(joints)


def overlap(a, b):
    return (a & b).sum() / (a | b).sum()


@pytest.mark.parametrize("wall", [(200, 200, 205), (235, 235, 230), (90, 95, 100)])
def test_the_mask_is_the_hand(wall):
    image, hand, joints = photo(wall)
    assert overlap(hand_mask(image, joints) > 127, hand) > 0.85


def test_what_cannot_be_cut_out_is_left_as_it_is():
    image, _, joints = photo()
    rng = np.random.default_rng(0)
    busy = image.copy()
    busy[:20] = rng.integers(0, 256, (20, SIZE, 3))
    for picture, points in (
        (busy, joints),  # no plain wall
        (image, joints + [45, -15]),  # the joints are elsewhere
        (image, joints + 1000),
        (np.full_like(image, 128), joints),  # nothing stands out
    ):
        assert hand_mask(picture, points) is None
        np.testing.assert_array_equal(relay(picture, rng, points), picture)


def test_the_hand_stays_and_the_wall_changes():
    image, hand, joints = photo()
    other = relay(image, np.random.default_rng(1), joints)
    inner = cv2.erode(hand.astype(np.uint8), np.ones((5, 5))) > 0
    outer = cv2.dilate(hand.astype(np.uint8), np.ones((9, 9))) == 0
    off = np.abs(other.astype(int) - image).mean(-1)
    assert np.median(off[inner]) <= 1
    assert np.median(off[outer]) > 10


def test_only_photographs_are_relaid():
    image, _, joints = photo()
    K = np.array([[100.0, 0, 60], [0, 100, 60], [0, 0, 1]])
    frame = Frame("x", 0, image, K, np.array([30.0, 20, 90, 95]), joints_px=joints)
    always = Augmentation(jitter_px=0, background=1.0)

    def crop(frame, augmentation):
        return make_sample(frame, 64, np.random.default_rng(3), augmentation)["image"].astype(int)

    plain = Augmentation(jitter_px=0)
    assert np.abs(crop(frame, always) - crop(frame, plain)).mean() > 5
    cam = np.column_stack([(joints - 60) / 100, np.ones(21)])
    labelled = Frame("x", 0, image, K, np.array([30.0, 20, 90, 95]), joints_cam=cam)
    np.testing.assert_array_equal(crop(labelled, always), crop(labelled, plain))
