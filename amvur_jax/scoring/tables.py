"""Scores of a whole set, in threads, and its tables by joint, by sequence and of the worst samples."""

import collections
import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from amvur_jax.data.layouts import PROGRAMS
from amvur_jax.scoring.mistakes import SAMPLES, Flat, find_mistakes
from amvur_jax.scoring.scores import Measured, Scores, measure
from mano_jax.topology import JOINT_NAMES

_BATCH = 32
WORST = 10
# The columns of the tables: the errors, in mm, that papers quote.
TABLE = ("root_mpjpe", "pa_mpjpe", "mpvpe", "pa_mpvpe")


class Uneven(ValueError):
    """Predictions and ground truth are not as many samples."""


class Scored(NamedTuple):
    """Scores of a set, the samples' names and what looks wrong with the predictions."""

    scores: Scores
    names: Sequence[str]
    warnings: list[str]

    def summary(self) -> dict[str, Any]:
        """The scores and the tables, ready for JSON: the official keys first, see docs/scores.md."""
        values = {"dataset": self.scores.dataset, "samples": len(self.scores)}
        values |= self.scores.summary()
        values["per_joint"] = self.per_joint()
        if (sequences := self.per_sequence()) is not None:
            values["per_sequence"] = sequences
        values["worst"] = self.worst()
        values["warnings"] = self.warnings
        return values

    def per_joint(self) -> list[dict[str, Any]]:
        """One row a joint, finger by finger (the model's order)."""
        order = np.argsort(PROGRAMS[self.scores.dataset].joint_order)
        columns = {"joint": JOINT_NAMES}
        for error in ("root_mpjpe", "pa_mpjpe"):
            mean, area = self.scores.per_keypoint(error)
            columns |= {f"{error}_mm": (1000 * mean)[order].tolist()}
            columns |= {f"{error}_auc": area[order].tolist()}
        return [dict(zip(columns, row)) for row in zip(*columns.values())]

    def per_sequence(self) -> list[dict[str, Any]] | None:
        """One row a sequence, the part of the names before the slash; None where names have none."""
        if not all("/" in name for name in self.names):
            return None
        sequences = np.array([name.rpartition("/")[0] for name in self.names])
        samples, rows = self.scores.per_sample, []
        for sequence in sorted(set(sequences)):
            chosen = sequences == sequence
            row = {"sequence": sequence, "samples": int(chosen.sum())}
            row |= {f"{name}_mm": 1000 * float(samples[name][chosen].mean()) for name in TABLE}
            row |= {f"f_al_{mm}": float(samples[f"f_al_{mm}"][chosen].mean()) for mm in (5, 15)}
            rows.append(row)
        return rows

    def worst(self, count: int = WORST) -> list[dict[str, Any]]:
        """The samples with the largest aligned vertex error, the worst first."""
        samples = self.scores.per_sample
        order = np.argsort(-samples["pa_mpvpe"], kind="stable")[:count]
        return [
            {"index": int(i), "name": self.names[i]}
            | {f"{name}_mm": 1000 * float(samples[name][i]) for name in TABLE}
            for i in order
        ]


def score(
    pred_joints: np.ndarray,
    pred_vertices: Iterable[np.ndarray],
    gt_joints: np.ndarray,
    gt_vertices: Iterable[np.ndarray],
    dataset: str = "ho3d",
    names: Sequence[str] | None = None,
) -> Scored:
    """Score predictions as the dataset's own program does, in threads and bounded memory.

    Args:
      pred_joints: (N, 21, 3) metres, the dataset's joint order and axes.
      pred_vertices: N samples (V, 3), an array or any iterable.
      gt_joints: (N, 21, 3).
      gt_vertices: N samples (V, 3).
      dataset: a key of amvur_jax.data.layouts.PROGRAMS.
      names: N names of the samples, or None for their numbers.

    Returns:
      Scored.

    Raises:
      Uneven: the four have different lengths, or there is no sample.
    """
    count, scores = len(pred_joints), Scores(dataset)
    if len(gt_joints) != count or not count:
        raise Uneven(f"{count} predictions, {len(gt_joints)} samples of ground truth")
    names = names or [f"{i:08d}" for i in range(count)]
    stream = _together(pred_joints, pred_vertices, gt_joints, gt_vertices)
    flat = Flat()
    looked_at, kept = set(np.linspace(0, count - 1, SAMPLES).astype(int).tolist()), []
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=count, unit="sample", desc="score", dynamic_ncols=True, delay=2) as progress,
    ):
        running: collections.deque[Future[Measured]] = collections.deque()
        batch: list[tuple[np.ndarray, ...]] = []

        def submit() -> None:
            # The trees and the decompositions run without Python's lock, beside the reading.
            joints, vertices, true_joints, true_vertices = map(np.stack, zip(*batch))
            running.append(
                pool.submit(measure, joints, vertices, true_joints, true_vertices, dataset)
            )
            batch.clear()

        def take() -> None:
            progress.update(len(scores.collect(running.popleft().result())["mpjpe"]))

        for i, sample in enumerate(stream):
            flat.look_at(names[i], sample[0], sample[1])
            if i in looked_at:
                kept.append(sample)
            batch.append(sample)
            if len(batch) == _BATCH:
                submit()
            while len(running) > 2 * (os.cpu_count() or 1):
                take()
        if batch:
            submit()
        while running:
            take()
    joints, vertices, true_joints, true_vertices = map(np.stack, zip(*kept))
    warnings = flat.warnings(count)
    warnings += find_mistakes(joints, vertices, true_joints, true_vertices, dataset)
    return Scored(scores, names, warnings)


def _together(*streams: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, ...]]:
    try:
        yield from zip(*streams, strict=True)
    except ValueError as error:
        raise Uneven(str(error)) from error
