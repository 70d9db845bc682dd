"""What labels say through the hand model, in numpy alone: readers run in processes without JAX."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from mano_jax import HandModel

# Metres, radians or pixels: no label comes near.
LARGEST_LABEL = 1e6


class KinematicChain:
    """The 16 joints of a hand model, without its skin.

    Args:
      hand: a mano_jax.HandModel.
    """

    def __init__(self, hand: HandModel) -> None:
        regressor = np.asarray(hand.joint_regressor, np.float64)
        self._base = regressor @ np.asarray(hand.v_template, np.float64)
        shapedirs = np.asarray(hand.shapedirs, np.float64)
        self._directions = np.einsum("jv,vck->jck", regressor, shapedirs)
        self._parents = hand.parents

    def rest(self, betas: np.ndarray) -> np.ndarray:
        """(10,) -> (16, 3) joints of the shaped rest hand, which are linear in the betas."""
        return self._base + self._directions @ betas

    def joints(self, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
        """(48,) axis-angle and (10,) -> (16, 3) posed joints, metres, MANO's order."""
        return self._posed(pose, self.rest(betas))[1]

    def _posed(self, pose: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rotations (16, 3, 3) and joints (16, 3)."""
        local = [cv2.Rodrigues(row)[0] for row in pose.reshape(16, 3)]
        rotations, joints = [local[0]], [rest[0]]
        for i, parent in enumerate(self._parents[1:], start=1):
            joints.append(joints[parent] + rotations[parent] @ (rest[i] - rest[parent]))
            rotations.append(rotations[parent] @ local[i])
        return np.stack(rotations), np.stack(joints)


class Skin(KinematicChain):
    """The same with its skin, but for the pose correctives, which move a vertex by a few millimetres.

    Args:
      hand: a mano_jax.HandModel.
    """

    def __init__(self, hand: HandModel) -> None:
        super().__init__(hand)
        self._template = np.asarray(hand.v_template, np.float64)
        self._shapedirs = np.asarray(hand.shapedirs, np.float64)
        self._weights = np.asarray(hand.weights, np.float64)

    def vertices(self, pose: np.ndarray, betas: np.ndarray) -> np.ndarray:
        """(48,) axis-angle and (10,) -> (V, 3), metres."""
        rest = self.rest(betas)
        rotations, joints = self._posed(pose, rest)
        shaped = self._template + self._shapedirs @ betas
        offsets = joints - (rotations @ rest[..., None])[..., 0]
        blended = (self._weights @ rotations.reshape(16, 9)).reshape(-1, 3, 3)
        return (blended @ shaped[..., None])[..., 0] + self._weights @ offsets


def hand_id(hand: HandModel) -> str:
    """A short name of a hand model's numbers: two models share it only if their labels mean the same."""
    digest = hashlib.sha256()
    for array in (hand.v_template, hand.shapedirs, hand.joint_regressor, hand.mean_pose):
        digest.update(np.asarray(array, np.float32).tobytes())
    return digest.hexdigest()[:12]


def is_camera(K: np.ndarray) -> bool:
    """Whether K (3, 3) is the matrix of a pinhole camera."""
    return bool(
        np.isfinite(K).all()
        and K[0, 0] > 0
        and K[1, 1] > 0
        and np.abs(K[2] - [0, 0, 1]).max() <= 1e-6
    )


def turned(quaternion: tuple[float, float, float, float], rotvec: np.ndarray) -> np.ndarray:
    """A rotation followed by that of a quaternion.

    Args:
      quaternion: w, x, y, z, of unit length.
      rotvec: (3,) axis-angle, radians.

    Returns:
      (3,) axis-angle of at most pi.
    """
    a, u = quaternion[0], np.asarray(quaternion[1:])
    angle = np.linalg.norm(rotvec)
    b, v = np.cos(angle / 2), rotvec * (np.sinc(angle / (2 * np.pi)) / 2)
    w, vector = a * b - u @ v, a * v + b * u + np.cross(u, v)
    w, vector = (w, vector) if w >= 0 else (-w, -vector)
    sine = np.linalg.norm(vector)
    return 2 * vector if sine < 1e-12 else vector * (2 * np.arctan2(sine, w) / sine)
