"""One labelled picture in the project's frames, and what a data set of them is, wherever it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from amvur_jax.data.augment import Augmentation

# OpenGL camera (y up, z backward) to OpenCV camera (y down, z forward), and back.
GL_TO_CV = np.array([1.0, -1.0, -1.0])


@dataclass(frozen=True)
class Frame:
    """One picture of one hand. OpenCV camera frame, metres, joints in the model's order.

    A label that the dataset does not give is None; the other fields always hold a value.

    Attributes:
      name: the dataset's name of the picture, such as "ABF10/0000".
      index: its position in the dataset's list, whatever view (amvur_jax.data.views) it comes through.
      image: (H, W, 3) uint8 RGB.
      K: (3, 3) intrinsics in pixels of the picture.
      box: (4,) x1, y1, x2, y2 about the hand in pixels of the picture; it may leave it.
      wrist_cam: (3,) wrist, or None.
      joints_cam: (21, 3) or None.
      joints_px: (21, 2) in pixels of the picture where there is no joints_cam but they are known.
      confidence: (21,) from 0 to 1, how much each of joints_px counts, or None for all of them fully.
      pose: (48,) axis-angle, radians, zero = flat hand, its first three the rotation into the
        camera frame, or None.
      betas: (10,) or None.
      trans: (3,) such that vertices_cam = hand(pose, betas) + trans, or None.
      root_cam: (3,) the wrist of that mesh, about which `pose` turns it, or None.
      visible: (H, W) bool, the pixels of `image` that show the hand, or at least nothing that lies in
        front of it; or None where that is not known or was not asked for.
      side: "right" or "left".
      origin: where `image` begins, if it is only a region of the picture: x, y in its pixels, in
        which K, box and joints_px are all the same.
      full_size: width, height of the picture of which `image` is a region, or None.
    """

    name: str
    index: int
    image: np.ndarray
    K: np.ndarray
    box: np.ndarray
    wrist_cam: np.ndarray | None = None
    joints_cam: np.ndarray | None = None
    joints_px: np.ndarray | None = None
    confidence: np.ndarray | None = None
    pose: np.ndarray | None = None
    betas: np.ndarray | None = None
    trans: np.ndarray | None = None
    root_cam: np.ndarray | None = None
    visible: np.ndarray | None = None
    side: str = "right"
    origin: tuple = (0, 0)
    full_size: tuple | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture, pixels."""
        return self.full_size or self.image.shape[1::-1]

    def projected_joints(self) -> np.ndarray:
        """The labelled 3D joints in the picture, (21, 2) pixels."""
        return project(self.joints_cam, self.K)  # type: ignore[arg-type]  # callers look first


class Dataset(Protocol):
    """One split of a data set: what every reader and every view has.

    Attributes:
      root: its folder.
      split: "train" or "evaluation".
      layout: a key of amvur_jax.data.layouts.LAYOUTS.
      names: what the frames are called, in order.
      ground_truth: (joints_cam (N, 21, 3), vertices_cam (N, 778, 3)) in the order of `names`, metres, OpenCV
        camera frame, joints in the model's order with the fingertips of the official file; or None.
      reach: the Augmentation whose crops the stored pictures can show, or None where they are whole.
      left_out: how many frames of the official split it lacks.
      endless: whether no frame comes twice, so that frames near one another share what they are made of.
      moments: of each frame the sequence that it was filmed in, "" for none, and its number there; or None
        where there are no sequences.
    """

    @property
    def root(self) -> Path: ...

    @property
    def split(self) -> str: ...

    @property
    def layout(self) -> str: ...

    @property
    def names(self) -> Sequence[str]: ...

    @property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None: ...

    @property
    def reach(self) -> Augmentation | None: ...

    @property
    def left_out(self) -> int: ...

    @property
    def endless(self) -> bool: ...

    @property
    def moments(self) -> Sequence[tuple[str, int]] | None: ...

    def __len__(self) -> int: ...

    def frame(self, i: int) -> Frame:
        """Read the frame at a position of `names`.

        Raises:
          UserError: it is missing, damaged or malformed.
        """
        ...


def project(points_cam: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Project points by a pinhole camera.

    Args:
      points_cam: (..., N, 3) metres, OpenCV camera frame; points at z <= 0 give NaN.
      K: (..., 3, 3) intrinsics in pixels.

    Returns:
      (..., N, 2) pixels.
    """
    z = np.where(points_cam[..., 2:] > 0, points_cam[..., 2:], np.nan)
    return (points_cam / z) @ np.asarray(K)[..., :2, :].swapaxes(-1, -2)
