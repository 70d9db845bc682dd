"""The optimiser, one optax chain of clipping, Adam or Muon and the learning-rate schedule."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from ml_collections import ConfigDict
from optax.contrib import MuonDimensionNumbers

from amvur_jax.models.layers import channel_sum


def learning_rate(train: ConfigDict) -> optax.Schedule:
    """step -> rate for config.train: "step" (a tenth from half of the steps on) or "cosine" to zero."""
    rate, steps = train.learning_rate, train.steps
    if train.schedule == "step":
        # The schedules that are joined count from the end of the warm-up.
        after = optax.piecewise_constant_schedule(
            rate, {max(steps // 2 - train.warmup_steps, 0): 0.1}
        )
    else:
        after = optax.cosine_decay_schedule(rate, max(steps - train.warmup_steps, 1))
    if not train.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, rate, train.warmup_steps)
    return optax.join_schedules([warmup, after], [train.warmup_steps])


def make_optimizer(
    train: ConfigDict, rule: optax.GradientTransformation | None = None
) -> optax.GradientTransformationExtraArgs:
    """The optax chain of a run: gradients clipped, a direction, times the rate of the step.

    Its update takes, beside the usual, `step` () of the run and `norm` () of the gradients.

    Args:
      train: config.train.
      rule: an optax transformation that makes a direction of gradients; None for that of train.optimizer:
        Adam(0.9, 0.999) without weight decay, as published, or Muon.
    Returns:
      An optax.GradientTransformationExtraArgs whose updates are to be added to the parameters.
    """
    if rule is None:
        rule = muon() if train.optimizer == "muon" else optax.scale_by_adam(b1=0.9, b2=0.999)
    return optax.chain(clip(train.clip_norm), rule, descend(learning_rate(train)))


def muon() -> optax.GradientTransformation:
    """Muon (Jordan et al. 2024) for the kernels of backbone and keypoint head, and NAdam for all else.

    A convolution's kernel (h,w,in,out) is a matrix (h w in, out). Directions are as long as Adam's are
    (Liu et al., Muon is Scalable for LLM Training, 2025): one rate serves both.
    """

    def matrix(path: jax.tree_util.KeyPath, leaf: jax.Array) -> MuonDimensionNumbers | None:
        names = [part.key for part in path]
        if names[0] not in ("backbone", "keypoints") or names[-1] != "kernel":
            return None
        return MuonDimensionNumbers(tuple(range(leaf.ndim - 1)), leaf.ndim - 1)

    return optax.contrib.muon(
        -1.0,  # a direction up the gradient, as Adam's: `descend` turns it
        consistent_rms=0.2,
        adam_b1=0.9,
        adam_b2=0.999,
        muon_weight_dimension_numbers=lambda params: jax.tree_util.tree_map_with_path(
            matrix, params
        ),
    )


def clip(largest: float) -> optax.GradientTransformationExtraArgs:
    """Scales gradients whose `norm` exceeds `largest` down to it; 0 leaves them."""

    def update(
        gradients: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        norm: jax.Array,
        **_: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        if not largest:
            return gradients, state
        scale = jnp.minimum(1.0, largest / jnp.maximum(norm, 1e-12))
        return optax.tree.scale(scale, gradients), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def descend(rate: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiplies directions by minus the rate of the `step`, which counts those that were left out too."""

    def update(
        directions: optax.Updates,
        state: optax.OptState,
        params: optax.Params | None = None,
        *,
        step: jax.Array,
        **_: Any,
    ) -> tuple[optax.Updates, optax.OptState]:
        return optax.tree.scale(-rate(step), directions), state

    return optax.GradientTransformationExtraArgs(optax.init_empty_state, update)


def global_norm(tree: dict) -> jax.Array:
    """The L2 norm () of all numbers of a tree of arrays; the sums of optax.tree.norm are slow on a CPU."""
    leaves = map(jnp.atleast_1d, jax.tree.leaves(tree))
    return jnp.sqrt(sum(channel_sum(x, x).sum() for x in leaves))


def moving_average(average: dict, params: dict, step: jax.Array, decay: float | jax.Array) -> dict:
    """The parameters' exponential moving average; the first steps, when all changes, count for less."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)
