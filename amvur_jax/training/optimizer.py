"""The optimiser and its learning-rate schedules."""

import jax
import jax.numpy as jnp
import optax

from amvur_jax.errors import UserError
from amvur_jax.models.layers import channel_sum


def learning_rate(train):
    """step -> rate for config.train: "step" (a tenth from half of the steps on) or "cosine" to zero."""
    rate, steps = train.learning_rate, train.steps
    if train.schedule == "step":
        after = optax.piecewise_constant_schedule(rate, {steps // 2: 0.1})
    elif train.schedule == "cosine":
        after = optax.cosine_decay_schedule(rate, max(steps - train.warmup_steps, 1))
    else:
        raise UserError(
            f"config.train.schedule: {train.schedule!r} is not known; use 'step' or 'cosine'"
        )
    if not train.warmup_steps:
        return after
    warmup = optax.linear_schedule(0.0, rate, train.warmup_steps)
    return optax.join_schedules([warmup, after], [train.warmup_steps])


def make_optimizer():
    """Adam(0.9, 0.999) without weight decay, as published; the step multiplies by the learning rate."""
    return optax.scale_by_adam(b1=0.9, b2=0.999)


def global_norm(tree):
    """The L2 norm () of all numbers of a tree of arrays; the sums of optax.tree.norm are slow on a CPU."""
    leaves = map(jnp.atleast_1d, jax.tree.leaves(tree))
    return jnp.sqrt(sum(channel_sum(x, x).sum() for x in leaves))


def scaled_to_norm(gradients, norm, largest):
    """Gradients of a known norm, scaled down to `largest` where they exceed it; 0 leaves them."""
    if not largest:
        return gradients
    scale = jnp.minimum(1.0, largest / jnp.maximum(norm, 1e-12))
    return jax.tree.map(lambda g: g * scale, gradients)


def moving_average(average, params, step, decay):
    """The parameters' exponential moving average; the first steps, when all changes, count for less."""
    decay = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return jax.tree.map(lambda a, p: a + (1 - decay) * (p - a), average, params)
