"""Hands over their photograph: where they are, in their colours, the nearer one before the other."""

import numpy as np
import pytest
from hands import faces, hand

import render
from amvur_jax.data.frame import project
from amvur_jax.hands.overlay import COLORS, OPACITY, SIDES, WINDOW, overlay
from amvur_jax.pictures.draw import LIGHT


def coloured(picture):
    """Where a black photograph has a right hand, where a left one, (H, W) bool each."""
    red, blue = picture[..., 0].astype(int), picture[..., 2].astype(int)
    drawn = picture.max(-1) > 10
    return drawn & (blue > red), drawn & (red > blue)


@pytest.fixture(scope="module")
def black():
    return np.zeros((480, 640, 3), np.uint8)


@pytest.mark.parametrize("order", [1, -1])
def test_the_nearer_hand_hides_the_other_in_any_order(black, order):
    size = {"focal": 600.0, "size": (640, 480)}
    near, far = hand("left", (0.02, 0, 0.5), **size), hand("right", (-0.05, 0, 0.7), **size)
    both = coloured(overlay(black, [near, far][::order], faces()))
    alone = [coloured(overlay(black, [one], faces())) for one in (far, near)]
    right, left = alone[0][0], alone[1][1]
    assert (right & left).sum() > 500
    np.testing.assert_array_equal(both[1], left)
    np.testing.assert_array_equal(both[0], right & ~left)
    # what is drawn is where the vertices are seen
    pixels = project(near.vertices_cam, near.K)
    rows, columns = np.nonzero(left)
    np.testing.assert_allclose([columns.min(), rows.min()], pixels.min(0), atol=1.5)
    np.testing.assert_allclose([columns.max() + 1, rows.max() + 1], pixels.max(0), atol=1.5)


def test_pictures_of_any_size_are_shown_and_what_is_beside_them_is_cut(black):
    white = np.full((30, 40, 3), 255, np.uint8)
    own = hand(at=(0.1, 0, 0.4), focal=40.0, size=(40, 30))
    picture = overlay(white, [own], faces())
    assert picture.shape == (480, 640, 3)
    # the photograph shines through
    assert picture.min() >= round(255 * (1 - OPACITY)) and (picture == 255).all(-1).mean() > 0.5
    large = np.zeros((2000, 3000, 3), np.uint8)
    assert max(overlay(large, [], faces()).shape) == SIDES[1]
    close = hand(at=(0, 0, 0.3), focal=3000.0, size=(3000, 2000))
    picture = overlay(large, [close], faces())
    assert np.nonzero(picture.max(-1).any(0))[0].size <= WINDOW < max(picture.shape)
    behind = hand(at=(0, 0, -1.0), focal=600.0, size=(640, 480))
    assert not overlay(black, [behind], faces()).any()


@pytest.mark.parametrize("side", ["right", "left"])
def test_it_is_what_a_z_buffer_draws(black, side):
    own = hand(side, (0.02, 0.01, 0.4), focal=600.0, size=(640, 480))
    wanted, mask, _ = render.render_mesh(
        own.vertices_cam.astype(np.float32),
        own.faces(faces()),
        np.broadcast_to(np.float32(COLORS[side]), own.vertices_cam.shape),
        own.K.astype(np.float32),
        (480, 640),
        light=LIGHT,
    )
    picture, mask = overlay(black, [own], faces()), np.asarray(mask)
    drawn = picture.max(-1) > 10
    assert mask.sum() > 5000 and (drawn & mask).sum() > 0.97 * (drawn | mask).sum()
    off = np.abs(picture / 255 - OPACITY * np.clip(wanted, 0, 1))[drawn & mask].max(-1)
    assert off.mean() < 0.01 and np.quantile(off, 0.98) < 0.05
