"""What a prediction must beat: the mean hand of the training labels, in their mean orientation."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from amvur_jax.data.frame import Dataset
from amvur_jax.data.sample import make_sample
from mano_jax import HandModel
from mano_jax.rotations import rotation_matrix, rotation_vector


class MeanHand(NamedTuple):
    """joints (21,3) and vertices (V,3) m, camera axes, wrist at the origin; joints_2d (21,2) of the crop."""

    joints_cam: np.ndarray
    vertices_cam: np.ndarray
    joints_2d: np.ndarray


def mean_rotation(rotations: np.ndarray) -> np.ndarray:
    """The rotation nearest to the mean of rotations (N,3,3) in Frobenius norm (chordal mean)."""
    u, _, vt = np.linalg.svd(rotations.mean(0))
    return u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt


def mean_hand(dataset: Dataset, hand: HandModel, frames: int = 300) -> MeanHand:
    """Mean shape, finger pose, orientation and place in the crop, over evenly spread training frames.

    Args:
      dataset: HO3D of the training split.
      hand: mano_jax.HandModel.
      frames: how many frames are read, at most.
    """
    chosen = np.unique(np.linspace(0, len(dataset) - 1, frames).astype(int))
    samples = [make_sample(dataset.frame(int(i)), 32) for i in chosen]
    samples = [s for s in samples if s["has_mesh"]]
    mean = {name: np.mean([s[name] for s in samples], 0) for name in ("pose", "betas", "joints_2d")}
    rotations = rotation_matrix(jnp.stack([s["pose"][:3] for s in samples]))
    pose = mean["pose"].reshape(16, 3)
    pose[0] = rotation_vector(jnp.asarray(mean_rotation(np.asarray(rotations))))
    posed = hand.with_shape(jnp.asarray(mean["betas"])).with_pose(jnp.asarray(pose))
    joints, vertices = np.asarray(posed.joints_21("ho3d")), np.asarray(posed.vertices)
    return MeanHand(joints - joints[0], vertices - joints[0], mean["joints_2d"])
