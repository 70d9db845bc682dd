"""The scores of scores.py during training: on the device, in batches, compiled once, in float32.

The same formulas (metrics.py) on jax.numpy; the nearest vertices are found by comparing all pairs instead
of by a tree. Errors agree with the float64 ones to 1e-3 mm, the shares (AUC, F) to 1e-3.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from amvur_jax.data.batches import evaluation_batches
from amvur_jax.data.frame import Dataset
from amvur_jax.data.layouts import LAYOUTS, PROGRAMS
from amvur_jax.data.views import Subset
from amvur_jax.errors import UserError
from amvur_jax.models.colors import normalize
from amvur_jax.models.functional import Network
from amvur_jax.scoring import metrics
from amvur_jax.scoring.scores import score_names, summarize
from mano_jax import HandModel


def nearest_distances(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distance of each point of a (N,3) and of b (M,3) to the nearest one of the other set."""
    distances = jnp.linalg.norm(a[:, None] - b, axis=-1)
    return distances.min(axis=1), distances.min(axis=0)


def batch_sums(
    joints: jax.Array,
    vertices: jax.Array,
    gt_joints: jax.Array,
    gt_vertices: jax.Array,
    valid: jax.Array,
    dataset: str = "ho3d",
) -> dict[str, Any]:
    """What a batch adds to the scores.

    Args:
      joints: (B,21,3) m, the data set's order and axes, as pred.zip holds them.
      vertices: (B,V,3).
      gt_joints: (B,21,3).
      gt_vertices: (B,V,3).
      valid: (B,) 0 or 1, which samples count.
      dataset: a key of amvur_jax.data.layouts.PROGRAMS.

    Returns:
      Sums over the samples: {"totals": {error: (K,)}, "counts": {error: (K,100)}, "f": {name: ()},
      "samples": ()}.
    """
    with jax.default_matmul_precision("highest"):
        scaled = "st_mpjpe" in PROGRAMS[dataset].keys.values()
        errors, aligned = metrics.errors(joints, vertices, gt_joints, gt_vertices, scaled, xp=jnp)
        f = {}
        for prefix, points in (("f", vertices), ("f_al", aligned)):
            # One sample at a time: all pairs of a batch would fill the memory.
            there, back = jax.lax.map(lambda pair: nearest_distances(*pair), (points, gt_vertices))
            for mm, threshold in metrics.F_THRESHOLDS.items():
                f[f"{prefix}_{mm}"] = valid @ metrics.f_score(there, back, threshold, xp=jnp)
    thresholds = jnp.asarray(metrics.THRESHOLDS, jnp.float32)
    counts = {
        name: jnp.einsum("b,bkt->kt", valid, (e[..., None] <= thresholds).astype(jnp.float32))
        for name, e in errors.items()
    }
    totals = {name: valid @ e for name, e in errors.items()}
    return {"totals": totals, "counts": counts, "f": f, "samples": valid.sum()}


class Validator:
    """Scores a network on the evaluation split, as often as training asks.

    Args:
      network: amvur_jax.models.functional.Network.
      hand: mano_jax.HandModel.
      dataset: the evaluation split, or None where the run has none.
      config: the whole config; its fields eval, data.workers and loss.mode are used.

    Raises:
      UserError: the split has no ground truth, or there is none, or the best metric is no score.
    """

    def __init__(
        self, network: Network, hand: HandModel, dataset: Dataset | None, config: ConfigDict
    ) -> None:
        if dataset is None or dataset.ground_truth is None:
            where = "the run's data" if dataset is None else dataset.root
            raise UserError(
                f"config.eval.every: {where} has no ground truth to score against; add "
                "evaluation_xyz.json and evaluation_verts.json, name another data set with "
                "config.eval.root, or set it to 0"
            )
        self._dataset = LAYOUTS[dataset.layout].program
        if config.train.best_metric not in score_names(self._dataset):
            raise UserError(
                f"config.train.best_metric: {config.train.best_metric!r} is none of the scores; use "
                f"one of {', '.join(score_names(self._dataset))}"
            )
        self._joints, self._vertices = dataset.ground_truth
        self._frames = Subset(dataset, config.eval.samples)
        self._size, self._workers = network.config.image_size, config.data.workers
        self._crop_scale = network.config.crop_scale
        self._batch_size = min(config.eval.batch_size, len(self._frames))
        self._step = jax.jit(functools.partial(_step, network, config.loss.mode, self._dataset))
        self._hand = hand

    def __call__(self, model: dict) -> dict[str, float]:
        """The scores of {"params", "batch_stats"}: the keys of scores.json."""
        sums = None
        for batch in evaluation_batches(
            self._frames, self._size, self._batch_size, self._workers, self._crop_scale
        ):
            i = batch["index"]
            arrays = {name: batch[name] for name in ("image", "valid", "wrist_cam")}
            arrays |= {"joints": self._joints[i], "vertices": self._vertices[i]}
            on_device = {
                k: jnp.asarray(v, v.dtype if k == "image" else jnp.float32)
                for k, v in arrays.items()
            }
            sums = self._step(model, self._hand, on_device, sums)
        sums = jax.tree.map(lambda x: np.asarray(x, np.float64), jax.device_get(sums))
        count = int(sums["samples"])
        f = {name: value / count for name, value in sums["f"].items()}
        return summarize(sums["totals"], sums["counts"], f, count, self._dataset)


def _step(
    network: Network,
    mode: str,
    dataset: str,
    model: dict,
    hand: HandModel,
    batch: Mapping[str, jax.Array],
    sums: dict[str, Any] | None,
) -> dict[str, Any]:
    """Predict a batch, and add its sums to those so far (None at first)."""
    outputs, _ = network.apply(model, normalize(batch["image"]), hand, paint=0)
    estimate = outputs.answer(mode)
    joints, vertices = estimate.joints.mu, estimate.vertices.mu
    true_joints = batch["joints"]
    program = PROGRAMS[dataset]
    if program.on_wrist:
        move = (batch["wrist_cam"] - joints[:, 0])[:, None]
        joints, vertices = joints + move, vertices + move
    # Axes play no part in these scores; the order does, where scores are told joint by joint.
    joints, true_joints = (x[:, program.joint_order] for x in (joints, true_joints))
    new = batch_sums(joints, vertices, true_joints, batch["vertices"], batch["valid"], dataset)
    return new if sums is None else jax.tree.map(jnp.add, sums, new)
