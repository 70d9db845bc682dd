"""The turned square about a hand: upright hands, and hands turned, scaled and moved."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amvur_jax.detect.squares import square_of_box, square_of_joints, square_of_palm

# An upright open right hand, its palm towards the camera: wrist, then thumb to pinky, base to tip.
HAND = np.array(
    [[50, 100], [35, 90], [25, 78], [18, 68], [12, 60]]
    + [[x, y] for x in (36, 48, 59, 69) for y in (55, 38, 28, 18)],
    float,
)
SIMILAR = st.tuples(
    st.floats(-math.pi, math.pi), st.floats(0.2, 5), st.floats(-300, 300), st.floats(-300, 300)
)


def moved(points, angle, scale, x, y):
    c, s = math.cos(angle), math.sin(angle)
    return scale * points @ np.array([[c, s], [-s, c]]) + [x, y]


def test_the_square_of_an_upright_hand_by_hand():
    joints = HAND.copy()
    joints[[5, 9, 13], 0] = 40, 50, 60  # knuckles evenly about the wrist's column
    square = square_of_joints(joints)
    assert square.angle == pytest.approx(0)
    # Without the fingers' outer halves: x from 18 to 69, y from 38 to 100; up by a tenth, twice as long.
    assert square.centre == pytest.approx([(18 + 69) / 2, 69 - 6.2])
    assert square.side == pytest.approx(124)


def test_the_square_of_a_palm_by_hand():
    keypoints = np.zeros((7, 2))
    keypoints[0], keypoints[2] = [100, 200], [200, 200]  # the fingers point to the right
    square = square_of_palm(np.array([100.0, 150, 200, 250]), keypoints)
    assert square.angle == pytest.approx(math.pi / 2)
    assert square.centre == pytest.approx([200, 200])
    assert square.side == pytest.approx(260)
    # The picture's right is the square's top.
    top = square.matrix(224) @ [330, 200, 1]
    assert top[:2] == pytest.approx([112, 0], abs=1e-9)
    assert square.turn() @ [0, -1] == pytest.approx([1, 0])


@given(SIMILAR)
def test_the_square_moves_with_the_hand(similar):
    def seen(joints):
        square = square_of_joints(joints)
        return np.c_[joints, np.ones(21)] @ square.matrix(224)[:2].T

    np.testing.assert_allclose(seen(moved(HAND, *similar)), seen(HAND), atol=1e-6)


def test_a_box_is_shown_whole_whichever_way_it_is_turned():
    corners = np.array([[10, 20, 1], [90, 20, 1], [90, 60, 1], [10, 60, 1]])
    for angle in (0.0, 0.3, math.pi / 2, 2.0):
        seen = corners @ square_of_box([10, 20, 90, 60], angle).matrix(224)[:2].T
        assert seen.min() > 0 and seen.max() < 224


def test_no_square_is_empty():
    for square in (
        square_of_joints(np.full((21, 2), 7.0)),
        square_of_palm(np.array([9.0, 9, 5, 5]), np.zeros((7, 2))),
    ):
        assert square.side > 0 and np.isfinite(square.matrix(224)).all()
