"""The layers' own ways on a CPU against JAX's general ones: values and gradients."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from amvur_jax.models import layers
from amvur_jax.models.cpu.backend import on_one_cpu
from amvur_jax.models.cpu.convolution import convolve
from amvur_jax.models.initial import Draws, normal
from amvur_jax.models.keypoints import KeypointHead

CASES = {
    "1x1": ((2, 5, 6, 3), 1, 1),
    "map smaller than the kernel": ((3, 2, 2, 4), 3, 1),
    "one row": ((3, 1, 7, 4), 3, 1),
    "strided": ((2, 8, 6, 3), 3, 2),
    "strided, to one pixel": ((2, 2, 2, 3), 3, 2),
    "strided, odd": ((2, 7, 9, 3), 3, 2),
    "strided, large": ((8, 10, 12, 3), 3, 2),
    "large": ((8, 6, 7, 5), 3, 1),
    "many channels": ((8, 12, 10, 128), 3, 1),
    "more kernel than map": ((1, 3, 4, 12), 3, 1),
    "more kernel than map, strided": ((1, 4, 3, 12), 3, 2),
    "5x5": ((2, 4, 6, 3), 5, 1),
}


def value_and_gradients(function, *inputs):
    """function(*inputs) and the gradients of a sum of it, weighted by noise."""
    out, to_inputs = jax.vjp(function, *inputs)
    return out, *to_inputs(jax.random.normal(jax.random.key(9), out.shape))


@pytest.mark.parametrize("case", CASES)
def test_convolution_and_its_gradients_are_those_of_jax(case):
    shape, size, stride = CASES[case]
    x = jax.random.normal(jax.random.key(0), shape)
    kernel = jax.random.normal(jax.random.key(1), (size, size, shape[-1], 2 * shape[-1]))
    settings = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    padding = ((size // 2,) * 2,) * 2
    found, expected = (
        value_and_gradients(
            lambda x, kernel, by=by: by(x, kernel, (stride, stride), padding, **settings), x, kernel
        )
        for by in (convolve, jax.lax.conv_general_dilated)
    )
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5 * (1 + abs(theirs).max()))


def test_a_small_map_is_looked_up_at_once():
    x, kernel = jnp.ones((1, 2, 2, 3)), jnp.ones((3, 3, 3, 4))
    settings = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    text = str(jax.make_jaxpr(lambda x: convolve(x, kernel, (1, 1), ((1, 1),) * 2, **settings))(x))
    assert text.count("gather[") == on_one_cpu()
    assert "concatenate" not in text  # each part of it would be a loop to compile


def check_layout(loss, *inputs):
    """All convolutions of a loss and its gradients have the order that XLA's CPU code is written for.

    Its compiler moves operands there, but not in a loop: accumulated gradients took seconds.
    """
    text = jax.jit(jax.grad(loss, (0, 1))).lower(*inputs).as_text()
    orders = re.findall(r"dim_numbers = (.*?->\[.*?\])", text)
    assert len(orders) == text.count("stablehlo.convolution(")
    assert set(orders) <= {"[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]"}
    assert "reverse = [true" not in text


@pytest.mark.parametrize("case", CASES)
def test_no_convolution_is_left_to_xla_to_lay_out(case):
    shape, size, stride = CASES[case]
    padding = ((size // 2,) * 2,) * 2
    settings = {"dimension_numbers": ("NHWC", "HWIO", "NHWC")}
    check_layout(
        lambda x, kernel: (convolve(x, kernel, (stride, stride), padding, **settings) ** 2).sum(),
        jnp.ones(shape),
        jnp.ones((size, size, shape[-1], 2 * shape[-1])),
    )


@pytest.mark.skipif(not on_one_cpu(), reason="it has this form on one CPU alone")
def test_neither_is_that_of_the_heat_maps():
    graph, params = nnx.split(KeypointHead(3, 4, rngs=Draws(0)))
    check_layout(
        lambda x, params: nnx.merge(graph, params)(x)[0].sum(), jnp.ones((2, 8, 8, 3)), params
    )


@pytest.mark.parametrize("shape", [(4,), (6, 4), (2, 3, 4), (64, 3, 4)])
def test_a_linear_layer_and_its_gradients_are_those_of_flax(shape):
    ours = layers.linear(4, 5, rngs=Draws(0), bias_init=normal(1.0))
    flax = nnx.Linear(4, 5, rngs=nnx.Rngs(1))
    nnx.update(flax, nnx.state(ours, nnx.Param))

    def call(layer):
        graph, params = nnx.split(layer)
        return lambda x, params: nnx.merge(graph, params)(x), params

    x = jax.random.normal(jax.random.key(0), shape)
    found, expected = (
        value_and_gradients(function, x, p) for function, p in map(call, (ours, flax))
    )
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("rows", [1, 7, 48, 1024, 1000])
def test_sums_over_rows_and_their_gradients_are_numpys(rows):
    x = np.random.default_rng(rows).normal(size=(rows, 3, 5)).astype(np.float32)
    np.testing.assert_allclose(layers.channel_sum(x), x.sum((0, 1)), rtol=1e-5, atol=1e-4)
    product = (x * x[::-1]).sum((0, 1))
    np.testing.assert_allclose(layers.channel_sum(x, x[::-1]), product, rtol=1e-5, atol=2e-4)

    weights = (np.arange(rows) % 3 != 1).astype(np.float32)
    kept = x[weights > 0]
    (total, squares), back = jax.vjp(layers.moments, jnp.asarray(x), jnp.asarray(weights))
    np.testing.assert_allclose(total, kept.sum((0, 1)), rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(squares, (kept * kept).sum((0, 1)), rtol=1e-5, atol=2e-4)
    slopes = np.arange(5.0, dtype=np.float32), np.arange(5.0, 10.0, dtype=np.float32)
    want = weights[:, None, None] * (slopes[0] + 2 * x * slopes[1])
    np.testing.assert_allclose(back(slopes)[0], want, rtol=1e-5, atol=1e-5)

    found, expected = (
        value_and_gradients(by, jnp.asarray(x), *slopes)
        for by in (layers.affine, lambda x, gain, shift: x * gain + shift)
    )
    for ours, theirs in zip(found, expected):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("kept", [[0, 1, 2, 3], [1, 3], [2], []])
def test_batch_norm_of_some_samples_is_that_of_those_alone(kept):
    x = jax.random.normal(jax.random.key(0), (4, 6, 8, 3)) + 2
    weights = jnp.zeros(4).at[jnp.array(kept, int)].set(1)
    some, alone = layers.BatchNorm(3), layers.BatchNorm(3)
    out = some(x, weights)
    if not kept:  # no statistic moves
        assert not some.mean[...].any() and (some.var[...] == 1).all()
        assert np.isfinite(out).all()
        return
    chosen = x[jnp.array(kept)]
    np.testing.assert_allclose(out[jnp.array(kept)], alone(chosen, True), atol=1e-5)
    np.testing.assert_allclose(some.mean[...], 0.1 * chosen.mean((0, 1, 2)), rtol=1e-5)
    unbiased = np.var(np.asarray(chosen, np.float64), axis=(0, 1, 2), ddof=1)
    np.testing.assert_allclose(some.var[...], 0.9 + 0.1 * unbiased, rtol=1e-5)


def test_relu_and_gelu_are_those_of_jax_and_let_nan_through():
    x = jnp.concatenate([jnp.linspace(-9, 9, 401), jnp.array([0.0, jnp.inf])])
    for ours, theirs in (
        (layers.relu, jax.nn.relu),
        (layers.gelu, lambda x: jax.nn.gelu(x, approximate=False)),
    ):
        value, gradient = jax.vmap(jax.value_and_grad(ours))(x[:-1])
        expected, slope = jax.vmap(jax.value_and_grad(theirs))(x[:-1])
        np.testing.assert_allclose(value, expected, atol=1e-6)
        np.testing.assert_allclose(gradient, slope, atol=1e-6)
        assert ours(x)[-1] == jnp.inf and jnp.isnan(ours(jnp.nan))


@pytest.mark.parametrize(("ratio", "tolerance"), [(0, 2e-6), (100, 1e-4), (1000, 1e-3)])
def test_layer_norm_is_float64s_where_the_mean_is_a_thousand_times_the_spread(ratio, tolerance):
    x = np.float32(np.random.default_rng(0).normal(ratio, 1, (50, 64)))
    exact = np.float64(x) - np.float64(x).mean(-1, keepdims=True)
    exact /= np.sqrt((exact**2).mean(-1, keepdims=True) + 1e-6)
    found = layers.layer_norm(64, rngs=Draws(0))(jnp.asarray(x))
    np.testing.assert_allclose(found, exact, atol=tolerance)
