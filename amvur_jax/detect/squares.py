"""The turned square about a hand that the landmark network looks at, from a palm, a box or landmarks.

Coordinates as in `amvur_jax/data/crop.py`: the centre of the first pixel is at (0.5, 0.5).
The rules and their constants are MediaPipe's (hand_landmark_tracking, Apache-2.0), about which
the network was trained.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from amvur_jax.data.crop import crop_matrix

# Of the palm's box: moved towards the fingers by this share of its height, enlarged so many times.
_PALM_MOVE, _PALM_SCALE = 0.5, 2.6
# The same of the box about the landmarks that hardly move: wrist, thumb without its tip, knuckles and
# first finger joints.
_STEADY = [0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18]
_STEADY_MOVE, _STEADY_SCALE = 0.1, 2.0
_LEAST = 1.0  # px, whatever a network says
# About a box tight about all joints, whose turn is not known: a square that shows a whole hand.
_BOX_SCALE = 1.7


class Square(NamedTuple):
    """A square of a picture, turned.

    Attributes:
      centre: (2,) px.
      side: px.
      angle: radians by which its upward side is turned from the picture's, clockwise as seen.
    """

    centre: np.ndarray
    side: float
    angle: float

    def matrix(self, size: int) -> np.ndarray:
        """The affine map (3, 3) from px of the picture to those of the square shown at `size` px."""
        return crop_matrix(self.centre, self.side, size, -self.angle)

    def turn(self) -> np.ndarray:
        """The rotation (2, 2) of a direction in the square into the picture."""
        c, s = math.cos(self.angle), math.sin(self.angle)
        return np.array([[c, -s], [s, c]])


def square_of_palm(box: np.ndarray, keypoints: np.ndarray) -> Square:
    """The square about a detected palm.

    Args:
      box: (4,) x1, y1, x2, y2 px.
      keypoints: (7, 2) px: 0 is the wrist, 2 the knuckle of the middle finger.
    """
    angle = _angle(keypoints[0], keypoints[2])
    width, height = box[2:] - box[:2]
    centre = (box[:2] + box[2:]) / 2 + _PALM_MOVE * height * _up(angle)
    return Square(centre, _PALM_SCALE * max(width, height, _LEAST), angle)


def square_of_joints(joints: np.ndarray) -> Square:
    """The square about a hand whose landmarks are known, as MediaPipe tracks it from frame to frame.

    Args:
      joints: (21, 2) px.
    """
    angle = _angle(joints[0], (joints[5] + joints[13]) / 4 + joints[9] / 2)
    up = _up(angle)
    axes = np.stack([[-up[1], up[0]], -up])  # the square's x and y in the picture
    steady = joints[_STEADY] @ axes.T
    low, high = steady.min(0), steady.max(0)
    width, height = high - low
    centre = (low + high) / 2 @ axes + _STEADY_MOVE * height * up
    return Square(centre, _STEADY_SCALE * max(width, height, _LEAST), angle)


def square_of_box(box: ArrayLike, angle: float = 0.0) -> Square:
    """A square that shows the whole of a hand of which a box tight about its joints is known.

    Args:
      box: (4,) x1, y1, x2, y2 px.
      angle: where its fingers point, see Square.
    """
    x1, y1, x2, y2 = np.asarray(box, np.float64)
    centre = np.array([(x1 + x2) / 2, (y1 + y2) / 2])
    return Square(centre, _BOX_SCALE * max(x2 - x1, y2 - y1), angle)


def _angle(wrist: np.ndarray, middle: np.ndarray) -> float:
    """How far the way from the wrist to the middle knuckle is turned from up, clockwise, in (-π, π]."""
    x, y = middle - wrist
    return math.atan2(x, -y)


def _up(angle: float) -> np.ndarray:
    return np.array([math.sin(angle), -math.cos(angle)])
