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


class Flat:
    """Takes note of hands whose joints or vertices all lie at one point, over a whole set."""

    def __init__(self) -> None:
        self._names: dict[str, list[str]] = {"joints": [], "vertices": []}

    def look_at(self, name: str, joints: np.ndarray, vertices: np.ndarray) -> None:
        """Look at one sample: joints (21, 3) and vertices (V, 3)."""
        for kind, points in (("joints", joints), ("vertices", vertices)):
            if _is_point(np.asarray(points)):
                self._names[kind].append(name)

    def warnings(self, count: int) -> list[str]:
        """Sentences about the samples that were looked at, of `count` in all."""
        found = []
        for kind, names in self._names.items():
            if len(names) == count:
                found.append(
                    f"the {kind} are not predicted: those of each hand lie at one point, and are "
                    "scored as such"
                )
            elif names:
                shown = ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")
                found.append(
                    f"in {len(names)} of {count} frames the {kind} all lie at one point: nothing was "
                    f"predicted there ({shown})"
                )
        return found


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
    have = ~_is_point(joints), ~_is_point(vertices)
    # Hands that are points say nothing of the others' mistakes, and Flat names them.
    kept = next((k for k in (have[0] & have[1], *have) if k.any()), None)
    if kept is None:
        return []
    joints, vertices, gt_joints, gt_vertices = (
        x[kept] for x in (joints, vertices, gt_joints, gt_vertices)
    )
    with_joints, with_vertices = (h[kept].all() for h in have)
    found = []
    if with_joints:
        found += _repeated(joints, gt_joints)
    for name, there, points, truth in (
        ("joints", with_joints, joints, gt_joints),
        ("vertices", with_vertices, vertices, gt_vertices),
    ):
        size = _size(points) / _size(truth)
        if there and not 0.5 < size < 2:
            found.append(_unit(name, size))
            points /= size  # so that the other checks can go on
    order = None
    if with_joints and with_vertices:
        order = _order(joints, vertices, gt_joints, gt_vertices)
    if order is not None:
        found.append(_order_text(order, joints, gt_joints, dataset))
        joints = joints[:, order]
    if with_joints:
        if PROGRAMS[dataset].on_wrist:
            found += _wrist(joints, gt_joints)
        found += _axes(joints, gt_joints, dataset)
    if with_vertices:
        found += _mirror(vertices, gt_vertices)
    if with_joints and with_vertices:
        found += _apart(joints, vertices, gt_joints, gt_vertices, dataset)
    return found


def _is_point(points: np.ndarray) -> np.ndarray:
    """Which samples (...) of points (...,N,3) all lie at one place: nothing was predicted."""
    return np.ptp(points, axis=-2).max(axis=-1) < 1e-9


def _size(points: np.ndarray) -> float:
    """The median over samples and points of the distance from the middle; a wild fifth changes little."""
    centred = points - np.median(points, axis=1, keepdims=True)
    return float(np.median(np.linalg.norm(centred, axis=-1)))


def _repeated(joints: np.ndarray, gt_joints: np.ndarray) -> list[str]:
    """One hand in every frame, which the official alignment does not give away."""
    spread, truth = (np.ptp(_relative(x), axis=0).max() for x in (joints, gt_joints))
    if len(joints) < 2 or spread > 1e-6 or truth < 1e-3:
        return []
    return [
        "the same hand is predicted in every frame (relative to the wrist): a constant, not an answer"
    ]


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
