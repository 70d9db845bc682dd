"""What parameters begin with, beside what flax and PyTorch's documentation say."""

import jax
import numpy as np
import pytest
from flax import nnx

from amvur_jax.models import initial

SHAPE = (3, 3, 50, 80)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (initial.normal(0.02), nnx.initializers.normal(0.02)),
        (initial.he_normal, nnx.initializers.he_normal()),
        (initial.he_normal_out, nnx.initializers.variance_scaling(2.0, "fan_out", "normal")),
        (initial.lecun_normal, nnx.initializers.lecun_normal()),
        (initial.torch_uniform, nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")),
    ],
)
def test_draws_are_distributed_as_jaxs(ours, theirs):
    found, wanted = ours(initial.Draws(0).params(), SHAPE), theirs(jax.random.key(0), SHAPE)
    assert found.shape == SHAPE and found.dtype == np.float32
    shares = np.linspace(0.001, 0.999, 41)
    a, b = (np.quantile(np.asarray(x), shares) for x in (found, wanted))
    np.testing.assert_allclose(a, b, atol=0.03 * np.abs(b).max())
    np.testing.assert_allclose(found.std(), wanted.std(), rtol=0.01)
    np.testing.assert_allclose(np.abs(found).max(), np.abs(wanted).max(), rtol=0.25)


def test_pytorchs_limit_is_one_over_the_root_of_the_inputs():
    found = initial.torch_uniform(initial.Draws(1).params(), (400, 30))
    assert 0.0499 < found.max() <= 0.05 and -0.05 <= found.min() < -0.0499


def test_each_parameter_has_numbers_of_its_own():
    draws = initial.Draws(5)
    first, second = (initial.normal(1.0)(draws.params(), (1000,)) for _ in range(2))
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.15
    again = initial.normal(1.0)(initial.Draws(5).params(), (1000,))
    np.testing.assert_array_equal(first, again)


def test_shapes_alone_cost_zeros():
    assert not initial.he_normal(initial.Draws(None).params(), (4, 4)).any()
    np.testing.assert_array_equal(initial.constant([1, 2])(None, (2,)), [1, 2])
