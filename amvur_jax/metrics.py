"""Hand pose scores as the HO-3D and FreiHAND programs define them, in float64.

Inputs are in the dataset's own frame and joint order (what pred.zip holds), metres. A mirrored
hand scores perfectly under the official alignment: the scores `proper_*` align without mirrors.
"""

import numpy as np

THRESHOLDS = np.linspace(0.0, 0.05, 100)
F_THRESHOLDS = {5: 0.005, 15: 0.015}
_EPS = 1e-8


def procrustes(points, target, proper=False):
    """Align points to a target by translation, scale and rotation (generalised Procrustes).

    Args:
      points: (..., N, 3).
      target: (..., N, 3).
      proper: True = rotations only; False = a mirror is allowed too, the official choice.

    Returns:
      (..., N, 3) aligned points.
    """
    centre = target.mean(axis=-2, keepdims=True)
    target = target - centre
    points = points - points.mean(axis=-2, keepdims=True)
    size = np.linalg.norm(target, axis=(-2, -1), keepdims=True) + _EPS
    target = target / size
    points = points / (np.linalg.norm(points, axis=(-2, -1), keepdims=True) + _EPS)
    u, s, vt = np.linalg.svd(np.swapaxes(target, -1, -2) @ points)
    if proper:
        mirror = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
        u = np.concatenate([u[..., :2], u[..., 2:] * mirror[..., None, None]], axis=-1)
        s = np.concatenate([s[..., :2], s[..., 2:] * mirror[..., None]], axis=-1)
    scale = s.sum(axis=-1)[..., None, None]
    return points @ np.swapaxes(u @ vt, -1, -2) * scale * size + centre


def scale_translation(joints, target):
    """Align joints to a target by the length from joint 0 to joint 4 and by joint 0.

    Args:
      joints: (..., 21, 3); in HO-3D's order, joint 4 is the middle finger's knuckle.
      target: (..., 21, 3).

    Returns:
      (..., 21, 3) aligned joints; joints without a length keep their size.
    """

    def length(x):
        return np.linalg.norm(x[..., 4, :] - x[..., 0, :], axis=-1)[..., None, None]

    own = length(joints)
    # The official order of operations: its rounding decides which wrist errors are exactly 0,
    # hence the first threshold's share.
    joints = joints / np.where(own > 0, own, 1.0) * length(target)
    return joints - joints[..., :1, :] + target[..., :1, :]


def distances(a, b):
    """Euclidean distances of corresponding points: (..., N, 3), (..., N, 3) -> (..., N)."""
    return np.linalg.norm(a - b, axis=-1)


def nearest_distances(a, b):
    """Distance of each point to the nearest one of the other set.

    Args:
      a: (N, 3).
      b: (M, 3).

    Returns:
      (N,) for a, (M,) for b.
    """
    centre = b.mean(axis=0)
    a, b = a - centre, b - centre
    square = (a**2).sum(-1)[:, None] + (b**2).sum(-1) - 2 * (a @ b.T)
    square = np.maximum(square, 0)
    return np.sqrt(square.min(axis=1)), np.sqrt(square.min(axis=0))


def f_score(to_target, to_points, threshold):
    """Harmonic mean of the shares of nearest distances that lie (strictly) below a threshold.

    Args:
      to_target: (N,) distance of each predicted point to the target.
      to_points: (M,) distance of each target point to the prediction.
      threshold: in the same unit.

    Returns:
      The F-score, 0 to 1.
    """
    precision, recall = (to_target < threshold).mean(), (to_points < threshold).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


class _Curve:
    """Mean error and area under the curve of correct keypoints, sample by sample."""

    def __init__(self):
        self.count, self.total, self.below = 0, 0.0, 0.0

    def add(self, errors):
        self.count += 1
        self.total = self.total + errors
        self.below = self.below + (errors[:, None] <= THRESHOLDS)

    def mean(self):
        return float(np.mean(self.total / self.count))

    def area(self):
        """Trapezoid over the thresholds per keypoint, as a share of the range, then the mean."""
        share = self.below / self.count
        area = ((share[:, 1:] + share[:, :-1]) / 2 * np.diff(THRESHOLDS)).sum(axis=1)
        return float(np.mean(area / (THRESHOLDS[-1] - THRESHOLDS[0])))


class Scores:
    """Scores over a stream of samples.

    Args:
      dataset: "ho3d" or "freihand": whose program's keys `summary` uses.

    Attributes:
      per_sample: lists with one number per sample: mpjpe, root_mpjpe, pa_mpjpe, proper_pa_mpjpe,
        mpvpe, pa_mpvpe, proper_pa_mpvpe (metres), f_5, f_al_5, f_15, f_al_15, and for HO-3D
        st_mpjpe.
    """

    def __init__(self, dataset="ho3d"):
        if dataset not in ("ho3d", "freihand"):
            raise ValueError(f"dataset={dataset!r}: expected ho3d or freihand")
        self._ho3d = dataset == "ho3d"
        self._curves = {}
        self.per_sample = {}

    def add(self, pred_joints, pred_vertices, gt_joints, gt_vertices):
        """Score one sample.

        Args:
          pred_joints: (21, 3) metres, the dataset's order and axes.
          pred_vertices: (V, 3).
          gt_joints: (21, 3).
          gt_vertices: (V, 3).

        Returns:
          This sample's entries of `per_sample`, as a dict.
        """
        arrays = (pred_joints, pred_vertices, gt_joints, gt_vertices)
        joints, vertices, gt_joints, gt_vertices = (np.asarray(x, np.float64) for x in arrays)
        root_relative = joints - joints[:1] + gt_joints[:1]
        aligned = procrustes(vertices, gt_vertices)
        sample = {
            "mpjpe": self._error("xyz", joints, gt_joints),
            "root_mpjpe": self._error("root", root_relative, gt_joints),
            "pa_mpjpe": self._error("xyz_al", procrustes(joints, gt_joints), gt_joints),
            "proper_pa_mpjpe": self._error(
                "proper", procrustes(joints, gt_joints, proper=True), gt_joints
            ),
            "mpvpe": self._error("mesh", vertices, gt_vertices),
            "pa_mpvpe": self._error("mesh_al", aligned, gt_vertices),
            "proper_pa_mpvpe": self._error(
                "mesh_proper", procrustes(vertices, gt_vertices, proper=True), gt_vertices
            ),
        }
        if self._ho3d:
            moved = scale_translation(joints, gt_joints)
            sample["st_mpjpe"] = self._error("xyz_st", moved, gt_joints)
        for prefix, points in (("f", vertices), ("f_al", aligned)):
            nearest = nearest_distances(points, gt_vertices)
            for mm, threshold in F_THRESHOLDS.items():
                sample[f"{prefix}_{mm}"] = f_score(*nearest, threshold)
        for name, value in sample.items():
            self.per_sample.setdefault(name, []).append(float(value))
        return sample

    def summary(self):
        """The scores of all samples so far.

        Returns:
          The official keys (errors in cm), then mpjpe_mm, root_mpjpe_mm, pa_mpjpe_mm,
          proper_pa_mpjpe_mm, mpvpe_mm, pa_mpvpe_mm, proper_pa_mpvpe_mm.

        Raises:
          ValueError: there was no sample.
        """
        if not self.per_sample:
            raise ValueError("no sample was scored")
        rows = [("xyz", "xyz"), ("xyz_procrustes_al" if self._ho3d else "xyz_al", "xyz_al")]
        rows += [("xyz_scale_trans_al", "xyz_st")] if self._ho3d else []
        rows += [("mesh", "mesh"), ("mesh_al", "mesh_al")]
        scores = {}
        for key, curve in rows:
            scores[f"{key}_mean3d"] = 100 * self._curves[curve].mean()
            scores[f"{key}_auc3d"] = self._curves[curve].area()
        for mm in F_THRESHOLDS:
            scores[f"f_score_{mm}"] = float(np.mean(self.per_sample[f"f_{mm}"]))
            scores[f"f_al_score_{mm}"] = float(np.mean(self.per_sample[f"f_al_{mm}"]))
        for name, values in self.per_sample.items():
            if name.endswith(("mpjpe", "mpvpe")) and name != "st_mpjpe":
                scores[f"{name}_mm"] = 1000 * float(np.mean(values))
        return scores

    def _error(self, curve, points, target):
        errors = distances(points, target)
        self._curves.setdefault(curve, _Curve()).add(errors)
        return errors.mean()


def score(pred_joints, pred_vertices, gt_joints, gt_vertices, dataset="ho3d"):
    """Score predictions as the dataset's own program does.

    Args:
      pred_joints: N samples of (21, 3), an array or any iterable; metres, the dataset's joint
        order and axes.
      pred_vertices: N samples of (V, 3).
      gt_joints: N samples of (21, 3).
      gt_vertices: N samples of (V, 3).
      dataset: "ho3d" or "freihand".

    Returns:
      Scores.summary: the official keys (errors in cm) and the same errors in mm.

    Raises:
      ValueError: the four have different lengths or there is no sample.
    """
    scores = Scores(dataset)
    for sample in zip(pred_joints, pred_vertices, gt_joints, gt_vertices, strict=True):
        scores.add(*sample)
    return scores.summary()
