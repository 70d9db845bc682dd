"""A detector's hands as the network is given them: joints in its crops."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from amvur_jax.detect.detector import Detector, Side, expected_error
from amvur_jax.detect.tips import finger_ends

if TYPE_CHECKING:
    from collections.abc import Sequence

    from amvur_jax.data.frame import Dataset


class Given(NamedTuple):
    """What `inference.Predictor` takes: joints (B,21,2) and depth (B,21), px of the crops; off (B,), how far
    they may be off, of the hand's longer side."""

    joints: np.ndarray
    depth: np.ndarray
    off: np.ndarray


def joints_of(
    detector: Detector, dataset: Dataset, indices: Sequence[int] | np.ndarray, crops: np.ndarray
) -> Given:
    """What a detector finds in the boxes of some of a data set's frames.

    Args:
      detector: Detector.
      dataset: of amvur_jax.data.open.
      indices: (B,) of its frames.
      crops: (B,3,3) the matrices that bring the pictures' px into the crops.
    """
    joints = np.empty((len(crops), 21, 2))
    depth, off = np.empty((len(crops), 21)), np.empty(len(crops))
    for i, (index, A) in enumerate(zip(indices, crops)):
        frame = dataset.frame(int(index))
        side: Side = "left" if frame.side == "left" else "right"
        hand = detector.landmarks(frame.image, frame.box, side)
        joints[i] = finger_ends(hand.joints_px) @ A[:2, :2].T + A[:2, 2]
        scale = np.sqrt(abs(np.linalg.det(A[:2, :2])))  # a left hand's crop is mirrored
        depth[i] = scale * finger_ends(hand.depth[:, None])[:, 0]
        off[i] = expected_error(hand.score)
    return Given(joints, depth, off)
