"""The optimiser and its learning-rate schedules."""

import optax

from amvur_jax.errors import UserError


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


def make_optimizer(train):
    """Adam(0.9, 0.999) without weight decay, as published, on the configured schedule."""
    return optax.adam(learning_rate(train), b1=0.9, b2=0.999)
