"""HO-3D's depth pictures, and where something in them is nearer than the labelled hand."""

import cv2
import numpy as np

METRES = 0.00012498664727900177  # of one step
_MARGIN = 0.01  # m; clearly nearer: more than labels and sensor are off by
_EDGE = np.ones(
    (5, 5), np.uint8
)  # at its edge a thing's colours run into the hand's, and sensors blur


def decode_depth(picture: np.ndarray) -> np.ndarray:
    """Depths (H, W) m, 0 where the sensor has none, of the file's RGB (H, W, 3) uint8: R + 256 G steps."""
    steps = picture[..., 0] + (picture[..., 1].astype(np.uint16) << 8)
    return steps * np.float32(METRES)


def not_covered(
    depth: np.ndarray, vertices_cam: np.ndarray, faces: np.ndarray, K: np.ndarray
) -> np.ndarray:
    """Where nothing is clearly nearer than the hand.

    Args:
      depth: (H, W) m, 0 where unknown.
      vertices_cam: (V, 3) m, OpenCV camera frame, of the hand.
      faces: (F, 3).
      K: (3, 3) px.

    Returns:
      (H, W) bool; True where the hand is not and where the depth is unknown, False two pixels about what
      covers it too.
    """
    near = _hand_depth(vertices_cam, faces, K, depth.shape)
    covered = (depth > 0) & (depth < near - _MARGIN)
    return cv2.dilate(covered.astype(np.uint8), _EDGE) == 0


def _hand_depth(
    vertices_cam: np.ndarray, faces: np.ndarray, K: np.ndarray, size: tuple[int, ...]
) -> np.ndarray:
    """How far the hand's surface is, (H, W) m, each face at its corners' mean; 0 where there is none."""
    z = np.where(vertices_cam[:, 2:] > 0, vertices_cam[:, 2:], np.inf)
    points = (vertices_cam[:, :2] / z) @ K[:2, :2].T + K[:2, 2] - 0.5
    faces = faces[np.isfinite(z[faces, 0]).all(1)]  # from either side: the wrist is open
    middle = z[faces, 0].mean(1)
    order = np.argsort(-middle)  # the nearest is drawn last
    corners = np.round(16 * np.clip(points, -1e4, 1e4)).astype(np.int32)[faces[order]]
    near = np.zeros(size, np.float32)
    for triangle, distance in zip(corners, middle[order].tolist()):
        cv2.fillConvexPoly(near, triangle, distance, shift=4)
    return near
