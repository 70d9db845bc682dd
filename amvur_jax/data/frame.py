"""One labelled picture, in the project's frames, whatever dataset it comes from."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Frame:
    """One picture of one hand. OpenCV camera frame, metres, joints in the model's order.

    A label that the dataset does not give is None; the other fields always hold a value.

    Attributes:
      name: the dataset's name of the picture, such as "ABF10/0000".
      index: its position in the dataset's list.
      image: (H, W, 3) uint8 RGB.
      K: (3, 3) intrinsics in pixels of `image`.
      box: (4,) x1, y1, x2, y2 about the hand in pixels of `image`; it may leave the image.
      wrist_cam: (3,) wrist.
      joints_cam: (21, 3) or None.
      pose: (48,) axis-angle, radians, zero = flat hand, its first three the rotation into the
        camera frame, or None.
      betas: (10,) or None.
      trans: (3,) such that vertices_cam = hand(pose, betas) + trans, or None.
    """

    name: str
    index: int
    image: np.ndarray
    K: np.ndarray
    box: np.ndarray
    wrist_cam: np.ndarray
    joints_cam: np.ndarray | None = None
    pose: np.ndarray | None = None
    betas: np.ndarray | None = None
    trans: np.ndarray | None = None


def project(points_cam, K):
    """Project points by a pinhole camera.

    Args:
      points_cam: (..., 3) metres, OpenCV camera frame; points at z <= 0 give NaN.
      K: (3, 3) intrinsics in pixels.

    Returns:
      (..., 2) pixels.
    """
    z = np.where(points_cam[..., 2:] > 0, points_cam[..., 2:], np.nan)
    return (points_cam / z) @ np.asarray(K)[:2].T
