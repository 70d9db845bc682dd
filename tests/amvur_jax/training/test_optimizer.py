"""The learning-rate schedules at the steps that define them."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from amvur_jax.errors import UserError
from amvur_jax.training.optimizer import global_norm, learning_rate


def fields(**changes):
    base = {"learning_rate": 1e-3, "steps": 100, "schedule": "step", "warmup_steps": 0}
    return ConfigDict(base | changes)


def test_the_published_schedule_drops_to_a_tenth_at_half():
    rate = learning_rate(fields())
    assert [float(rate(i)) for i in (0, 49, 51, 99)] == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])


def test_cosine_warms_up_and_ends_at_zero():
    rate = learning_rate(fields(schedule="cosine", warmup_steps=20))
    # after the warm-up half of the way down is half of the rate
    assert [float(rate(i)) for i in (0, 10, 20, 60, 100)] == pytest.approx(
        [0, 5e-4, 1e-3, 5e-4, 0], abs=1e-9
    )


def test_an_unknown_schedule_is_named():
    with pytest.raises(UserError, match=r"config\.train\.schedule: 'linear'"):
        learning_rate(fields(schedule="linear"))


def test_the_global_norm_is_that_of_all_numbers_in_one_row():
    rng = np.random.default_rng(0)
    tree = {"a": rng.normal(size=(3, 3, 16, 5)), "b": rng.normal(size=7), "c": np.float32(2)}
    row = np.concatenate([np.ravel(x) for x in tree.values()])
    assert float(global_norm(tree)) == pytest.approx(np.linalg.norm(row), rel=1e-6)
