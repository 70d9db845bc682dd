"""The formulas of hand pose scores, as the HO-3D and FreiHAND programs define them.

Points are in the dataset's own frame and joint order (what pred.zip holds), metres; any leading
axes. `xp` is the array module: numpy for the scores of record in float64, jax.numpy for those on
the device during training. A mirrored hand scores perfectly under the official alignment: `proper`
aligns without mirrors.
"""

from types import ModuleType
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from scipy.spatial import cKDTree

if TYPE_CHECKING:
    import jax

THRESHOLDS = np.linspace(0.0, 0.05, 100)
F_THRESHOLDS = {5: 0.005, 15: 0.015}
_EPS = 1e-8

Array = TypeVar("Array", np.ndarray, "jax.Array")


def procrustes(points: Array, target: Array, proper: bool = False, xp: ModuleType = np) -> Array:
    """Align points to a target by translation, scale and rotation (generalised Procrustes).

    Args:
      points: (..., N, 3).
      target: (..., N, 3).
      proper: True = rotations only; False = a mirror is allowed too, the official choice.
      xp: numpy or jax.numpy.

    Returns:
      (..., N, 3) aligned points.
    """
    centre = target.mean(axis=-2, keepdims=True)
    target = target - centre
    points = points - points.mean(axis=-2, keepdims=True)
    size = xp.linalg.norm(target, axis=(-2, -1), keepdims=True) + _EPS
    target = target / size
    points = points / (xp.linalg.norm(points, axis=(-2, -1), keepdims=True) + _EPS)
    u, s, vt = xp.linalg.svd(xp.swapaxes(target, -1, -2) @ points)
    if proper:
        mirror = xp.where(xp.linalg.det(u @ vt) < 0, -1.0, 1.0)
        u = xp.concatenate([u[..., :2], u[..., 2:] * mirror[..., None, None]], axis=-1)
        s = xp.concatenate([s[..., :2], s[..., 2:] * mirror[..., None]], axis=-1)
    scale = s.sum(axis=-1)[..., None, None]
    return points @ xp.swapaxes(u @ vt, -1, -2) * scale * size + centre


def scale_translation(joints: Array, target: Array, xp: ModuleType = np) -> Array:
    """Align joints to a target by the length from joint 0 to joint 4 and by joint 0.

    Args:
      joints: (..., 21, 3); in HO-3D's order, joint 4 is the middle finger's knuckle.
      target: (..., 21, 3).
      xp: numpy or jax.numpy.

    Returns:
      (..., 21, 3) aligned joints; joints without a length keep their size.
    """

    def length(x: Array) -> Array:
        return xp.linalg.norm(x[..., 4, :] - x[..., 0, :], axis=-1)[..., None, None]

    own = length(joints)
    # The official order of operations: its rounding decides which wrist errors are exactly 0,
    # hence the first threshold's share.
    joints = joints / xp.where(own > 0, own, 1.0) * length(target)
    return joints - joints[..., :1, :] + target[..., :1, :]


def errors(
    joints: Array,
    vertices: Array,
    gt_joints: Array,
    gt_vertices: Array,
    scaled: bool = True,
    xp: ModuleType = np,
) -> tuple[dict[str, Array], Array]:
    """The error of every keypoint under every alignment.

    Args:
      joints: (..., 21, 3) predicted, metres, the dataset's order and axes.
      vertices: (..., V, 3).
      gt_joints: (..., 21, 3).
      gt_vertices: (..., V, 3).
      scaled: whether to add st_mpjpe, aligned by scale and translation, which HO-3D's program has.
      xp: numpy or jax.numpy.

    Returns:
      {name of ERRORS: (..., 21) or (..., V) metres}, and the aligned vertices (..., V, 3).
    """
    aligned = procrustes(vertices, gt_vertices, xp=xp)
    compared = {
        "mpjpe": (joints, gt_joints),
        "root_mpjpe": (joints - joints[..., :1, :] + gt_joints[..., :1, :], gt_joints),
        "pa_mpjpe": (procrustes(joints, gt_joints, xp=xp), gt_joints),
        "proper_pa_mpjpe": (procrustes(joints, gt_joints, proper=True, xp=xp), gt_joints),
        "mpvpe": (vertices, gt_vertices),
        "pa_mpvpe": (aligned, gt_vertices),
        "proper_pa_mpvpe": (procrustes(vertices, gt_vertices, proper=True, xp=xp), gt_vertices),
    }
    if scaled:
        compared["st_mpjpe"] = (scale_translation(joints, gt_joints, xp=xp), gt_joints)
    return {name: xp.linalg.norm(a - b, axis=-1) for name, (a, b) in compared.items()}, aligned


def nearest_distances(
    a: np.ndarray, b: np.ndarray, limit: float = np.inf
) -> tuple[np.ndarray, np.ndarray]:
    """Distance of each point to the nearest one of the other set.

    Args:
      a: (N, 3).
      b: (M, 3).
      limit: distances from here on may be given as infinite, which is quicker.

    Returns:
      (N,) for a, (M,) for b.
    """
    tree_a, tree_b = cKDTree(a), cKDTree(b)
    to_b, _ = tree_b.query(a, distance_upper_bound=limit)
    to_a, _ = tree_a.query(b, distance_upper_bound=limit)
    return to_b, to_a


def f_score(to_target: Array, to_points: Array, threshold: float, xp: ModuleType = np) -> Array:
    """Harmonic mean of the shares of nearest distances that lie (strictly) below a threshold.

    Args:
      to_target: (..., N) distance of each predicted point to the target.
      to_points: (..., M) distance of each target point to the prediction.
      threshold: in the same unit.
      xp: numpy or jax.numpy.

    Returns:
      (...) F-scores, 0 to 1.
    """
    precision = (to_target < threshold).mean(axis=-1)
    recall = (to_points < threshold).mean(axis=-1)
    total = precision + recall
    return 2 * precision * recall / xp.where(total > 0, total, 1.0)


def area(share: Array, xp: ModuleType = np) -> Array:
    """Area under curves of correct keypoints.

    Args:
      share: (..., 100) share of samples with an error of at most each of THRESHOLDS.
      xp: numpy or jax.numpy.

    Returns:
      (...) trapezoid over the thresholds, as a share of their range.
    """
    steps = xp.asarray(np.diff(THRESHOLDS) / (THRESHOLDS[-1] - THRESHOLDS[0]))
    return ((share[..., 1:] + share[..., :-1]) / 2 * steps).sum(axis=-1)
