"""Depth pictures: the official encoding, and the hand against what a rasteriser says of it."""

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

import render
from amvur_jax.data.readers.depth import decode_depth, not_covered
from mano_jax import load_hand


def test_a_step_is_an_eighth_of_a_millimetre_and_green_counts_256():
    picture = np.array([[[200, 19, 0], [255, 255, 7], [0, 0, 0], [1, 0, 0], [0, 1, 0]]], np.uint8)
    # 200 + 19 * 256 = 5064 steps of 0.00012498664727900177 m, ...
    expected = [0.6329323818, 8.1909999294, 0.0, 0.0001249866, 0.0319965817]
    np.testing.assert_allclose(decode_depth(picture)[0], expected, rtol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_nearer_than_the_hand_covers_it_and_nothing_else_does(turned):
    hand, size = load_hand(), (120, 160)
    axes = [0, 2, 1] if turned else [2, 0, 1]
    vertices = np.asarray(hand.v_template, np.float64)[:, axes]
    vertices = vertices - vertices.mean(0) + [0.01, 0, 0.45]
    K = np.array([[220.0, 0, 80], [0, 222.0, 60], [0, 0, 1]])
    z = render.depth_map(jnp.asarray(vertices), hand.faces, jnp.asarray(K), size)
    z = np.array(z)
    drawn = np.isfinite(z)
    assert drawn.mean() > 0.1
    rng = np.random.default_rng(0)
    depth = np.where(drawn, z, 1.3) + rng.uniform(-0.004, 0.004, size)  # a sensor's noise
    thing = np.zeros(size, bool)
    thing[:, 84:] = True
    depth[thing] = np.where(drawn, z - 0.02, 0.3)[thing]
    depth[45:61] = 0  # where it sees nothing
    found = not_covered(depth, vertices, np.asarray(hand.faces), K)
    known, inside = depth > 0, cv2.erode(np.uint8(drawn), np.ones((3, 3))) > 0
    assert (thing & known & inside).sum() > 200 and (~thing & known & inside).sum() > 200
    assert not found[thing & known & inside].mean() > 0.02
    # Pixels of the hand beside the thing are hidden too, for there colours are mixed; no others are.
    beside = (inside & known)[:, 82:84]
    assert beside.sum() > 20 and not found[:, 82:84][beside].mean() > 0.2
    assert found[:, :81].mean() > 0.999
    outside = cv2.dilate(np.uint8(drawn), np.ones((9, 9))) == 0
    assert found[outside].all() and found[48:58].all()
    assert (thing & drawn)[48:58].any()


def test_a_hand_behind_the_camera_covers_nothing():
    hand = load_hand()
    vertices = np.asarray(hand.v_template, np.float64) - [0, 0, 1]
    K = np.array([[220.0, 0, 80], [0, 222.0, 60], [0, 0, 1]])
    assert not_covered(np.full((12, 16), 0.1), vertices, np.asarray(hand.faces), K).all()
