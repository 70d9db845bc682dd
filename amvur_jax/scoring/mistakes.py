"""Likely mistakes in a file of predictions that the scores forgive or hide, each with its evidence."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linear_sum_assignment

from amvur_jax.data.layouts import PROGRAMS
from amvur_jax.scoring.metrics import procrustes
from mano_jax.topology import FINGERTIPS, MODEL_TO_HO3D, MODEL_TO_MANO21

SAMPLES = 256  # more tell nothing new
# How much an undone mistake must lower the error before it is named.
_CLEARLY = 0.6
_UNITS = {1000.0: "millimetres", 100.0: "centimetres", 0.001: "kilometres"}
# Orders that joints come in: x_named = x_model[order].
_ORDERS = {
    "the model's (thumb first)": np.arange(21),
    "HO-3D's": MODEL_TO_HO3D,
    "MANO's with tips after their fingers": MODEL_TO_MANO21,
}


def find_mistakes(
    pred_joints: ArrayLike,
    pred_vertices: ArrayLike,
    gt_joints: np.ndarray,
    gt_vertices: np.ndarray,
    dataset: str = "ho3d",
) -> list[str]:
    """Name what is probably wrong with predictions, in sentences with the evidence.

    Args:
      pred_joints: (N, 21, 3) as in the file, what should be metres, in the dataset's order and axes.
      pred_vertices: (N, 778, 3).
      gt_joints: (N, 21, 3).
      gt_vertices: (N, 778, 3).
      dataset: a key of amvur_jax.data.layouts.PROGRAMS.

    Returns:
      A list of sentences; empty where nothing looks wrong.
    """
    joints, vertices = np.array(pred_joints, np.float64), np.array(pred_vertices, np.float64)
    found = []
    sizes = [_size(p) / _size(t) for p, t in ((joints, gt_joints), (vertices, gt_vertices))]
    if max(sizes) < 1e-6:
        return ["every predicted hand is a single point: nothing was predicted"]
    for name, points, size in (("joints", joints, sizes[0]), ("vertices", vertices, sizes[1])):
        if not 0.5 < size < 2:
            found.append(_unit(name, size))
            points /= size  # so that the other checks can go on
    order = _order(joints, vertices, gt_joints, gt_vertices)
    if order is not None:
        found.append(_order_text(order, joints, gt_joints, dataset))
        joints = joints[:, order]
    if PROGRAMS[dataset].on_wrist:
        found += _wrist(joints, gt_joints)
    found += _axes(joints, gt_joints, dataset)
    found += _mirror(vertices, gt_vertices)
    found += _apart(joints, vertices, gt_joints, gt_vertices, dataset)
    return found


def _size(points: np.ndarray) -> float:
    """The median over the samples of the root mean square distance from the centre."""
    centred = points - points.mean(axis=1, keepdims=True)
    return float(np.median(np.sqrt((centred**2).sum(-1).mean(-1))))


def _relative(points: np.ndarray) -> np.ndarray:
    return points - points[:, :1]


def _mm(a: np.ndarray, b: np.ndarray) -> float:
    return 1000 * float(np.median(np.linalg.norm(a - b, axis=-1).mean(-1)))


def _unit(name: str, size: float) -> str:
    unit = next((u for factor, u in _UNITS.items() if 0.5 < size / factor < 2), None)
    guess = f"{unit} instead of metres?" if unit else "another unit than metres?"
    return f"the {name} are {size:.4g} times as large as the ground truth's: {guess}"


def _wrist(joints: np.ndarray, gt_joints: np.ndarray) -> list[str]:
    """The official HO-3D scores take no wrist off: the challenge wants hands on the given wrist."""
    distance = _mm(joints[:, :1], gt_joints[:, :1])
    if distance < 1:
        return []
    return [
        f"not aligned at the wrist: it is {distance:.1f} mm from the given one (median), and the error "
        f"is {_mm(joints, gt_joints):.1f} mm but {_mm(_relative(joints), _relative(gt_joints)):.1f} mm "
        "relative to the wrist: move each hand so that its wrist lies on handJoints3D of its frame"
    ]


def _axes(joints: np.ndarray, gt_joints: np.ndarray, dataset: str) -> list[str]:
    """OpenCV's axes for OpenGL's or the reverse: y and z turned."""
    flipped = np.array([1.0, -1.0, -1.0])
    target = _relative(gt_joints)
    here, there = _mm(_relative(joints), target), _mm(_relative(joints) * flipped, target)
    if there >= _CLEARLY * here:
        return []
    meant = PROGRAMS[dataset].axes_name
    own = "OpenCV" if meant == "OpenGL" else "OpenGL"
    return [
        f"{own} axes where {meant} ones belong? With y and z negated the wrist-relative error falls "
        f"from {here:.1f} to {there:.1f} mm (median)"
    ]


def _mirror(vertices: np.ndarray, gt_vertices: np.ndarray) -> list[str]:
    """The official alignment undoes a mirror; the proper one does not."""
    official = _mm(procrustes(vertices, gt_vertices), gt_vertices)
    proper = _mm(procrustes(vertices, gt_vertices, proper=True), gt_vertices)
    if official >= _CLEARLY * proper:
        return []
    return [
        f"mirrored hands (left for right, or one axis negated)? Aligned, the vertices are off by "
        f"{official:.1f} mm where a mirror is allowed, as in the official score, and by {proper:.1f} mm "
        "where it is not (median)"
    ]


def _order(
    joints: np.ndarray, vertices: np.ndarray, gt_joints: np.ndarray, gt_vertices: np.ndarray
) -> np.ndarray | None:
    """The right order (21,) where joints, placed by their meshes, fit others than their namesakes."""
    placed = _place(joints, vertices, gt_vertices)
    distances = np.linalg.norm(placed[:, :, None] - gt_joints[:, None], axis=-1).mean(0)
    _, order = linear_sum_assignment(distances.T)  # gt joint j is predicted joint order[j]
    here, there = (1000 * distances.T[range(21), o].mean() for o in (range(21), order))
    # PA of the joints themselves confirms it: a mesh in another frame would mislead.
    before, after = _aligned(joints, order, gt_joints)
    return None if there >= _CLEARLY * here or after >= _CLEARLY * before else order


def _aligned(joints: np.ndarray, order: np.ndarray, gt_joints: np.ndarray) -> list[float]:
    return [_mm(procrustes(x, gt_joints), gt_joints) for x in (joints, joints[:, order])]


def _order_text(order: np.ndarray, joints: np.ndarray, gt_joints: np.ndarray, dataset: str) -> str:
    before, after = _aligned(joints, order, gt_joints)
    meant = PROGRAMS[dataset].joint_order
    name = next((n for n, o in _ORDERS.items() if (np.argsort(o)[meant] == order).all()), None)
    what = f"it looks like {name}" if name else f"the right joints are those at {order.tolist()}"
    return (
        f"the joints are in another order: {what}. In the right one the aligned error falls from "
        f"{before:.1f} to {after:.1f} mm (median)"
    )


def _place(joints: np.ndarray, vertices: np.ndarray, gt_vertices: np.ndarray) -> np.ndarray:
    """The joints moved by the similarity (a mirror allowed) that aligns their mesh."""
    count = vertices.shape[1]
    ones = np.ones((len(vertices), count, 1))
    aligned = procrustes(vertices, gt_vertices)
    A = np.linalg.pinv(np.concatenate([vertices, ones], -1)) @ aligned
    return np.concatenate([joints, ones[:, :21]], -1) @ A


def _apart(
    joints: np.ndarray,
    vertices: np.ndarray,
    gt_joints: np.ndarray,
    gt_vertices: np.ndarray,
    dataset: str,
) -> list[str]:
    """Joints and vertices in different frames: fingertips are vertices, so they must coincide."""
    program = PROGRAMS[dataset]
    tips = np.argsort(program.joint_order)[[4, 8, 12, 16, 20]]
    ids = list(FINGERTIPS[program.fingertips])
    predicted = _mm(joints[:, tips], vertices[:, ids])
    if predicted < _mm(gt_joints[:, tips], gt_vertices[:, ids]) + 20:
        return []
    return [
        f"joints and vertices lie apart: the fingertips are {predicted:.0f} mm from the vertices that "
        "they should be (median): another frame, unit or joint order in one of the two lists?"
    ]
