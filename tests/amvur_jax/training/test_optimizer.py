"""The learning-rate schedules at the steps that define them."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from ml_collections import ConfigDict

from amvur_jax.training.optimizer import global_norm, learning_rate, make_optimizer


def fields(**changes):
    base = {"learning_rate": 1e-3, "steps": 100, "schedule": "step", "warmup_steps": 0}
    base |= {"optimizer": "adam"}
    return ConfigDict(base | changes)


def test_the_published_schedule_drops_to_a_tenth_at_half():
    rate = learning_rate(fields())
    assert [float(rate(i)) for i in (0, 49, 51, 99)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_the_published_schedule_drops_at_half_of_the_steps_after_a_warmup_too():
    rate = learning_rate(fields(warmup_steps=20))
    want = [5e-4, 1e-3, 1e-3, 1e-4, 1e-4]
    assert [float(rate(i)) for i in (10, 20, 49, 51, 99)] == pytest.approx(want)


def test_cosine_warms_up_and_ends_at_zero():
    rate = learning_rate(fields(schedule="cosine", warmup_steps=20))
    # after the warm-up half of the way down is half of the rate
    assert [float(rate(i)) for i in (0, 10, 20, 60, 100)] == pytest.approx(
        [0, 5e-4, 1e-3, 5e-4, 0], abs=1e-9
    )


@pytest.mark.parametrize("largest, kept", [(0.0, [3, 4]), (1.0, [0.6, 0.8]), (10.0, [3, 4])])
def test_clipping_keeps_the_direction_and_descent_takes_the_rate_of_the_step(largest, kept):
    gradients = {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    optimizer = make_optimizer(fields(clip_norm=largest), optax.identity())
    state = optimizer.init(gradients)
    for step, rate in ((0, 1e-3), (51, 1e-4)):
        updates, _ = optimizer.update(gradients, state, step=step, norm=jnp.array(5.0))
        found = [float(updates[name][0]) for name in "ab"]
        assert found == pytest.approx([-rate * k for k in kept])


def test_a_step_of_the_chain_is_that_of_optax_adam():
    rng = np.random.default_rng(0)
    params = {"a": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}
    ours, theirs = make_optimizer(fields(clip_norm=0.0)), optax.adam(1e-3)
    state, expected_state = ours.init(params), theirs.init(params)
    for step in range(3):
        gradients = {"a": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32)}
        norm = optax.tree.norm(gradients)
        updates, state = ours.update(gradients, state, params, step=step, norm=norm)
        expected, expected_state = theirs.update(gradients, expected_state, params)
        np.testing.assert_allclose(updates["a"], expected["a"], rtol=1e-6)


def test_muon_takes_every_direction_of_a_kernel_alike_and_descends():
    """Of the gradient's singular vectors the step keeps the vectors, and makes the values nearly one."""
    g = np.random.default_rng(0)
    kernel = jnp.asarray(g.standard_normal((3, 3, 4, 8)), jnp.float32)
    params = {
        "backbone": {"conv": {"kernel": kernel, "bias": jnp.ones(8)}},
        "prior": {"pose": {"kernel": jnp.ones((4, 2))}},
    }
    gradients = {
        "backbone": {"conv": {"kernel": 5 * kernel, "bias": jnp.ones(8)}},
        "prior": {"pose": {"kernel": jnp.full((4, 2), -3.0)}},
    }
    optimizer = make_optimizer(fields(optimizer="muon", clip_norm=0.0, schedule="cosine"))
    state = optimizer.init(params)
    updates, _ = optimizer.update(gradients, state, params, step=jnp.int32(0), norm=jnp.float32(1))
    matrix, step = (
        np.asarray(x).reshape(36, 8) for x in (kernel, updates["backbone"]["conv"]["kernel"])
    )
    u, values, v = np.linalg.svd(matrix, full_matrices=False)
    along = np.diag(u.T @ -step @ v.T) / 1e-3  # the rate
    assert along.min() > 0.5 * along.max() > 0 and values.min() < 0.5 * values.max()
    np.testing.assert_allclose(-step, 1e-3 * u @ np.diag(along) @ v, atol=1e-6)
    assert np.sqrt(np.mean(step**2)) == pytest.approx(0.2e-3, rel=0.3)
    # All else goes Adam's way, against the gradient, by about the rate.
    for update, sign in (
        (updates["backbone"]["conv"]["bias"], -1),
        (updates["prior"]["pose"]["kernel"], 1),
    ):
        assert (sign * update > 0.5e-3).all() and (sign * update < 2e-3).all()


def test_the_global_norm_is_that_of_all_numbers_in_one_row():
    rng = np.random.default_rng(0)
    tree = {"a": rng.normal(size=(3, 3, 16, 5)), "b": rng.normal(size=7), "c": np.float32(2)}
    row = np.concatenate([np.ravel(x) for x in tree.values()])
    assert float(global_norm(tree)) == pytest.approx(np.linalg.norm(row), rel=1e-6)
