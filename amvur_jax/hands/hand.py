"""One reconstructed hand of a photograph, all its numbers in the photograph's own camera."""

from typing import Literal, NamedTuple

import numpy as np

from amvur_jax.detect.detector import Side

FocalSource = Literal["given", "exif", "assumed"]

_FLIP = np.array([-1.0, 1.0, 1.0])
# Axis-angles of the mirror image: an axis is a pseudo-vector.
_FLIP_ROTATION = np.array([1.0, -1.0, -1.0])


class Hand(NamedTuple):
    """A hand; float64 numpy arrays. docs/outputs.md says more of each.

    The camera is the photograph's (OpenCV: x right, y down, z away; metres), the same for all its hands.
    Joints are in the model's order (`mano_jax/topology.py`). Pose and shape are those of the hand model that
    the network was trained with, of this hand's side: a left hand has those of its mirror image with y and z
    of every axis-angle negated, as MANO's left hand wants them.

    Attributes:
      side: "right" or "left", as in life.
      score: the detector's belief that this is a hand, in [0, 1]; 1 where it was not asked.
      box: (4,) x1, y1, x2, y2 px about the hand.
      K: (3,3) of the whole photograph, px; the centre of the first pixel is at (0.5, 0.5).
      focal_source: whether the focal length was given, read from EXIF, or assumed: the place in metres is
        right only up to it, and up to the hand's true size.
      vertices_cam: (V,3) m.
      joints_cam: (21,3) m.
      joints_px: (21,2) px, `joints_cam` as seen.
      landmarks_px: (21,2) px, the detector's, by which the hand is placed, and which a network that takes
        landmarks got to see; NaN where there are none.
      refined: whether it was moved to the landmarks (`refine.py`).
      wrist_rotation: (3,) axis-angle that turns the model's axes into the camera's, about the wrist.
      finger_pose: (15,3) axis-angles of the finger joints in MANO's order, from the flat hand.
      finger_pose_from_mean: (15,3) the same less the model's mean pose.
      betas: (10,) shape.
      translation: (3,) m, added after the turn about the wrist, as `transl` of smplx.
      joints_sigma_mm: (21,) standard deviation of a coordinate relative to the wrist, mm.
      vertices_sigma_mm: (V,) likewise.
      sigma_calibrated: whether sigma was fitted to errors (`evaluate.py --calibrate`), those of hands whose
        joints are from where this one's are: read off the picture, or a detector's (`--joints=detector`).
      colors: (V,3) sRGB in [0, 1].
    """

    side: Side
    score: float
    box: np.ndarray
    K: np.ndarray
    focal_source: FocalSource
    vertices_cam: np.ndarray
    joints_cam: np.ndarray
    joints_px: np.ndarray
    landmarks_px: np.ndarray
    refined: bool
    wrist_rotation: np.ndarray
    finger_pose: np.ndarray
    finger_pose_from_mean: np.ndarray
    betas: np.ndarray
    translation: np.ndarray
    joints_sigma_mm: np.ndarray
    vertices_sigma_mm: np.ndarray
    sigma_calibrated: bool
    colors: np.ndarray

    def faces(self, right: np.ndarray) -> np.ndarray:
        """(F,3), counter-clockwise from outside, of the right hand's `right`."""
        return right if self.side == "right" else right[:, ::-1]


def mirrored(hand: Hand, width: float) -> Hand:
    """The hand that the mirror image of a photograph, `width` px wide, shows."""
    mirror = np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    return hand._replace(
        side="left" if hand.side == "right" else "right",
        box=mirrored_box(hand.box, width),
        K=mirror @ hand.K * _FLIP,
        vertices_cam=hand.vertices_cam * _FLIP,
        joints_cam=hand.joints_cam * _FLIP,
        joints_px=mirrored_px(hand.joints_px, width),
        landmarks_px=mirrored_px(hand.landmarks_px, width),
        wrist_rotation=hand.wrist_rotation * _FLIP_ROTATION,
        finger_pose=hand.finger_pose * _FLIP_ROTATION,
        finger_pose_from_mean=hand.finger_pose_from_mean * _FLIP_ROTATION,
        translation=hand.translation * _FLIP,
    )


def mirrored_px(points: np.ndarray, width: float) -> np.ndarray:
    """Points (...,2) px in the mirror image of a picture."""
    return points * [-1, 1] + [width, 0]


def mirrored_box(box: np.ndarray, width: float) -> np.ndarray:
    """A box (4,) x1, y1, x2, y2 px in the mirror image of a picture."""
    x1, y1, x2, y2 = box
    return np.array([width - x2, y1, width - x1, y2])
