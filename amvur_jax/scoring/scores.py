"""The scores of a set of samples: the official keys, and tables by joint, sequence and sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from amvur_jax.data.layouts import PROGRAMS
from amvur_jax.scoring import metrics
from amvur_jax.scoring.metrics import F_THRESHOLDS, THRESHOLDS

if TYPE_CHECKING:
    import jax

IN_MM = (
    "mpjpe",
    "root_mpjpe",
    "pa_mpjpe",
    "proper_pa_mpjpe",
    "mpvpe",
    "pa_mpvpe",
    "proper_pa_mpvpe",
)
# What `measure` gives.
Measured = tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
_LIMIT = 1.001 * max(F_THRESHOLDS.values())


class Scores:
    """Scores over a stream of batches; memory grows by 12 numbers a sample.

    Args:
      dataset: a key of amvur_jax.data.layouts.PROGRAMS: whose program's keys `summary` uses.

    Attributes:
      dataset: as given.
      totals: {error: (K,) sum over the samples, metres}.
      counts: {error: (K, 100) how many samples are within each of metrics.THRESHOLDS}.
    """

    def __init__(self, dataset: str = "ho3d") -> None:
        if dataset not in PROGRAMS:
            raise ValueError(f"dataset={dataset!r}: expected {' or '.join(PROGRAMS)}")
        self.dataset = dataset
        self.totals: dict[str, np.ndarray] = {}
        self.counts: dict[str, np.ndarray] = {}
        self._samples: dict[str, list[np.ndarray]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._samples.get("mpjpe", ())))

    def add(
        self,
        pred_joints: ArrayLike,
        pred_vertices: ArrayLike,
        gt_joints: ArrayLike,
        gt_vertices: ArrayLike,
    ) -> dict[str, np.ndarray]:
        """Score a batch.

        Args:
          pred_joints: (B, 21, 3) metres, the dataset's order and axes.
          pred_vertices: (B, V, 3).
          gt_joints: (B, 21, 3).
          gt_vertices: (B, V, 3).

        Returns:
          {name: (B,)}, this batch's part of `per_sample`.
        """
        return self.collect(
            measure(pred_joints, pred_vertices, gt_joints, gt_vertices, self.dataset)
        )

    def collect(
        self, measured: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """Take in what `measure` gave for a batch; returns its part of `per_sample`."""
        errors, samples = measured
        for name, values in errors.items():
            self.totals[name] = self.totals.get(name, 0.0) + values.sum(axis=0)
            self.counts[name] = self.counts.get(name, 0) + within(values)
        for name, values in samples.items():
            self._samples.setdefault(name, []).append(values)
        return samples

    @property
    def per_sample(self) -> dict[str, np.ndarray]:
        """{name: (N,)}: errors in metres (mpjpe, root_mpjpe, pa_mpjpe, proper_pa_mpjpe, mpvpe,
        pa_mpvpe, proper_pa_mpvpe, for HO-3D st_mpjpe) and f_5, f_al_5, f_15, f_al_15."""
        return {name: np.concatenate(parts) for name, parts in self._samples.items()}

    def summary(self) -> dict[str, float]:
        """The scores of all samples so far.

        Returns:
          The official keys (errors in cm), then each of IN_MM with the suffix _mm.

        Raises:
          ValueError: there was no sample.
        """
        if not len(self):
            raise ValueError("no sample was scored")
        samples = self.per_sample
        f = {name: values.mean() for name, values in samples.items() if name.startswith("f_")}
        return summarize(self.totals, self.counts, f, len(self), self.dataset)

    def curve(self, name: str) -> np.ndarray:
        """Share of keypoints (100,) with at most each of metrics.THRESHOLDS of that error."""
        return self.counts[name].mean(axis=0) / len(self)

    def per_keypoint(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Mean error (K,) in metres and area under the curve (K,) of every joint or vertex."""
        return self.totals[name] / len(self), metrics.area(self.counts[name] / len(self))


def measure(
    pred_joints: ArrayLike,
    pred_vertices: ArrayLike,
    gt_joints: ArrayLike,
    gt_vertices: ArrayLike,
    dataset: str = "ho3d",
) -> Measured:
    """What a batch adds to the scores; a pure function, so that batches can be measured in threads.

    Args:
      pred_joints: (B, 21, 3) metres, the dataset's order and axes.
      pred_vertices: (B, V, 3).
      gt_joints: (B, 21, 3).
      gt_vertices: (B, V, 3).
      dataset: a key of PROGRAMS.

    Returns:
      {error: (B, K) metres} of every keypoint, {name: (B,)} of every sample.
    """
    arrays = (pred_joints, pred_vertices, gt_joints, gt_vertices)
    joints, vertices, gt_joints, gt_vertices = (np.asarray(x, np.float64) for x in arrays)
    scaled = "st_mpjpe" in PROGRAMS[dataset].keys.values()
    errors, aligned = metrics.errors(joints, vertices, gt_joints, gt_vertices, scaled)
    samples = {name: values.mean(axis=-1) for name, values in errors.items()}
    for prefix, points in (("f", vertices), ("f_al", aligned)):
        nearest = [metrics.nearest_distances(a, b, _LIMIT) for a, b in zip(points, gt_vertices)]
        to_target, to_points = (np.stack(part) for part in zip(*nearest))
        for mm, threshold in F_THRESHOLDS.items():
            samples[f"{prefix}_{mm}"] = metrics.f_score(to_target, to_points, threshold)
    return errors, samples


def within(errors: np.ndarray) -> np.ndarray:
    """How many of errors (B, K) are at most each threshold: (K, 100)."""
    keypoints = errors.shape[-1]
    first = np.searchsorted(THRESHOLDS, errors)  # of the thresholds that an error is within
    place = first + np.arange(keypoints) * (len(THRESHOLDS) + 1)
    counts = np.bincount(place.ravel(), minlength=keypoints * (len(THRESHOLDS) + 1))
    return counts.reshape(keypoints, -1)[:, :-1].cumsum(axis=1)


def summarize(
    totals: Mapping[str, metrics.Array],
    counts: Mapping[str, metrics.Array],
    f: Mapping[str, float | np.ndarray | jax.Array],
    samples: int,
    dataset: str,
) -> dict[str, float]:
    """The scores from what was summed over the samples, on the host or on a device.

    Args:
      totals: {error: (K,) sum of the errors, metres}.
      counts: {error: (K, 100) samples within each of metrics.THRESHOLDS}.
      f: {"f_5", "f_al_5", "f_15", "f_al_15": mean}.
      samples: their number.
      dataset: a key of PROGRAMS.

    Returns:
      As Scores.summary.
    """
    scores = {}
    for key, name in PROGRAMS[dataset].keys.items():
        scores[f"{key}_mean3d"] = 100 * float(np.mean(totals[name] / samples))
        scores[f"{key}_auc3d"] = float(np.mean(metrics.area(counts[name] / samples)))
    for mm in F_THRESHOLDS:
        scores[f"f_score_{mm}"] = float(f[f"f_{mm}"])
        scores[f"f_al_score_{mm}"] = float(f[f"f_al_{mm}"])
    for name in IN_MM:
        scores[f"{name}_mm"] = 1000 * float(np.mean(totals[name] / samples))
    return scores


def score_names(dataset: str = "ho3d") -> list[str]:
    """The keys of `summarize` for a key of PROGRAMS."""
    names = [f"{key}_{kind}" for key in PROGRAMS[dataset].keys for kind in ("mean3d", "auc3d")]
    names += [f"f_{kind}score_{mm}" for mm in F_THRESHOLDS for kind in ("", "al_")]
    return [*names, *(f"{name}_mm" for name in IN_MM)]


def official_text(scores: Mapping[str, float], dataset: str = "ho3d") -> str:
    """scores.txt as the dataset's program writes it: `key: value` lines, cm, six decimals."""
    keys = score_names(dataset)[: -len(IN_MM)]
    return "".join(f"{key}: {scores[key]:f}\n" for key in keys)
