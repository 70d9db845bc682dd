"""Plain numpy skinning for the recipe of the embedded hand: the blend that keeps its volume."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def rotation(axis: ArrayLike, angle: ArrayLike) -> np.ndarray:
    """Rotation about one axis.

    Args:
      axis: (..., 3), any length but zero.
      angle: (...) radians.

    Returns:
      (..., 3, 3).
    """
    unit = np.asarray(axis, np.float64)
    unit = unit / np.linalg.norm(unit, axis=-1, keepdims=True)
    sine, cosine = (x[..., None, None] for x in (np.sin(angle), np.cos(angle)))
    cross = np.zeros((*unit.shape, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = (
        -unit[..., 2],
        unit[..., 1],
        -unit[..., 0],
    )
    cross = cross - np.swapaxes(cross, -1, -2)
    return np.eye(3) + sine * cross + (1 - cosine) * (cross @ cross)


def between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation that turns direction `a` into direction `b`, each (3,)."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    return rotation(axis + 1e-12, np.arctan2(np.linalg.norm(axis), a @ b))


def chain(
    rest: np.ndarray, parents: Sequence[int], local: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """World rotations (16, 3, 3) and positions (16, 3) of joints at `rest` turned by `local`."""
    rotations, joints = [local[0]], [rest[0]]
    for j in range(1, len(parents)):
        p = parents[j]
        rotations.append(rotations[p] @ local[j])
        joints.append(joints[p] + rotations[p] @ (rest[j] - rest[p]))
    return np.stack(rotations), np.stack(joints)


def _quaternion(matrix: np.ndarray) -> np.ndarray:
    """Unit quaternions (N, 4) of rotations (N, 3, 3), by the best conditioned row of 4 q q^T."""
    m = matrix
    off = np.stack([m[:, 2, 1] - m[:, 1, 2], m[:, 0, 2] - m[:, 2, 0], m[:, 1, 0] - m[:, 0, 1]], -1)
    outer = np.empty((len(m), 4, 4))
    trace = np.trace(m, axis1=1, axis2=2)
    outer[:, 0, 0] = 1 + trace
    outer[:, 0, 1:] = outer[:, 1:, 0] = off
    outer[:, 1:, 1:] = m + m.swapaxes(1, 2) + (1 - trace)[:, None, None] * np.eye(3)
    best = np.argmax(np.diagonal(outer, axis1=1, axis2=2), axis=1)
    q = outer[np.arange(len(m)), best]
    q = q / np.linalg.norm(q, axis=1, keepdims=True)
    return np.where(q[:, :1] < 0, -q, q)


def blend_linear(
    vertices: np.ndarray, weights: np.ndarray, rotations: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Linear blend skinning: sum_j w_j (R_j v + t_j).

    Args:
      vertices: (V, 3).
      weights: (V, 16).
      rotations: (16, 3, 3).
      offsets: (16, 3), t_j.

    Returns:
      Skinned (V, 3) and the blended matrices (V, 3, 3).
    """
    matrices = np.einsum("vj,jab->vab", weights, rotations)
    return np.einsum("vab,vb->va", matrices, vertices) + weights @ offsets, matrices


def blend_dual_quaternion(
    vertices: np.ndarray, weights: np.ndarray, rotations: np.ndarray, offsets: np.ndarray
) -> np.ndarray:
    """Dual quaternion skinning (Kavan et al., TOG 2008): a bent joint keeps its volume.

    Args:
      vertices: (V, 3).
      weights: (V, 16).
      rotations: (16, 3, 3).
      offsets: (16, 3), t_j.

    Returns:
      Skinned (V, 3).
    """
    real = _quaternion(rotations)
    w, xyz = real[:, :1], real[:, 1:]
    dual_w = -0.5 * np.sum(offsets * xyz, -1, keepdims=True)
    dual_xyz = 0.5 * (w * offsets + np.cross(offsets, xyz))
    blended, dual = weights @ real, weights @ np.concatenate([dual_w, dual_xyz], -1)
    length = np.linalg.norm(blended, axis=-1, keepdims=True)
    blended, dual = blended / length, dual / length
    w, xyz = blended[:, :1], blended[:, 1:]
    turned = vertices + 2 * np.cross(xyz, np.cross(xyz, vertices) + w * vertices)
    shift = 2 * (w * dual[:, 1:] - dual[:, :1] * xyz + np.cross(xyz, dual[:, 1:]))
    return turned + shift
