"""The ends of fingers: MediaPipe's landmark of a tip lies before the joint that hand models mean.

Theirs is about where the nail begins, the hand models' (HO-3D, FreiHAND, MANO) a vertex at the end.
"""

import numpy as np

# Of the last bone; `scripts/benchmark.py --suite=detect` has what synthetic hands say.
SHARE = 0.75
_TIPS, _BEFORE = np.arange(4, 21, 4), np.arange(3, 21, 4)


def finger_ends(landmarks: np.ndarray) -> np.ndarray:
    """Joints (...,21,n) of landmarks, the tips moved on along their last bones to the ends of the fingers."""
    return _stretched(landmarks, 1 / SHARE)


def landmark_tips(joints: np.ndarray) -> np.ndarray:
    """Landmarks (...,21,n) of joints, as MediaPipe means them: `finger_ends` backwards."""
    return _stretched(joints, SHARE)


def _stretched(points: np.ndarray, factor: float) -> np.ndarray:
    points = np.array(points, np.float64)
    before = points[..., _BEFORE, :]
    points[..., _TIPS, :] = before + factor * (points[..., _TIPS, :] - before)
    return points
