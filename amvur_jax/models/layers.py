"""Layers with PyTorch's arithmetic: Linear, padded Conv, BatchNorm (unbiased running variance), activations.

What XLA's CPU code is slow at has a faster form of the same values in models/cpu, named beside the plain one.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from amvur_jax.models.cpu import convolution, sums
from amvur_jax.models.cpu.backend import one_cpu_takes
from amvur_jax.models.initial import Draws, Initializer, constant, he_normal_out, torch_uniform

Arrays = TypeVar("Arrays", bound=tuple[Any, ...])
M = TypeVar("M", bound=nnx.Module)


def as_input(arrays: Arrays, *, dtype: Any = None, inexact: bool = True) -> Arrays:
    """Cast a layer's (input, parameters...) to the input's type: who calls it chooses the precision."""
    cast_all = (None if a is None else a.astype(arrays[0].dtype) for a in arrays)
    return tuple(cast_all)  # type: ignore[return-value]  # as many as came


class Linear(nnx.Linear):
    """flax's Linear (...,in) -> (...,out) by `multiply` and `add_bias`, in the input's type."""

    bias: nnx.Param[jax.Array]  # never None

    def __call__(  # type: ignore[override]  # the sharding of its result is left to XLA
        self, x: jax.Array
    ) -> jax.Array:
        x, kernel, bias = as_input((x, self.kernel[...], self.bias[...]))
        return add_bias(multiply(x, kernel), bias)


def linear(
    in_features: int,
    out_features: int,
    *,
    rngs: Draws,
    kernel_init: Initializer = torch_uniform,
    bias_init: Initializer | None = None,
) -> Linear:
    """A Linear with a bias, initialised as PyTorch does unless said otherwise."""
    return Linear(
        in_features,
        out_features,
        kernel_init=kernel_init,
        bias_init=bias_init or constant([0.0]),
        rngs=rngs,  # type: ignore[arg-type]  # see Draws
    )


def layer_norm(features: int, *, epsilon: float = 1e-6, rngs: Draws) -> nnx.LayerNorm:
    """flax's LayerNorm with the variance of what is left after the mean.

    Its default, the mean of squares less the squared mean, loses the variance where the mean is large.
    """
    return nnx.LayerNorm(
        features,
        epsilon=epsilon,
        use_fast_variance=False,
        rngs=rngs,  # type: ignore[arg-type]  # see Draws
    )


@one_cpu_takes(sums.multiply)
def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x (...,C) @ kernel (C,D)."""
    return x @ kernel


@one_cpu_takes(sums.add_bias)
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """x (...,C) + bias (C), in float32 and so the bias' gradient; the result in the type of x."""
    return (x.astype(jnp.float32) + bias.astype(jnp.float32)).astype(x.dtype)


def numbered(name: str, modules: Iterable[M]) -> nnx.Dict[M]:
    """An nnx.Dict {name0: ..., name1: ...}: readable paths in the parameter tree."""
    return nnx.Dict({f"{name}{i}": module for i, module in enumerate(modules)})


def gelu(x: jax.Array) -> jax.Array:
    """The exact GELU by erf, as PyTorch's; jax.nn.gelu's erfc takes XLA's CPU code far longer."""
    return 0.5 * x * (1 + jax.lax.erf(x / math.sqrt(2)))


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Inverted dropout of x with probability `rate`; key None (evaluation) leaves x as it is."""
    if key is None or rate == 0:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


def relu(x: jax.Array) -> jax.Array:
    """max(x, 0) as a selection: XLA computes a maximum, and all before it, again for each of its uses."""
    return jnp.where(x <= 0, jnp.zeros_like(x), x)


@one_cpu_takes(sums.channel_sum)
def channel_sum(*factors: jax.Array) -> jax.Array:
    """Sum of the arrays' product over all axes but the last: (...,C) each -> (C)."""
    product = math.prod(factors)
    return product.sum(tuple(range(factors[0].ndim - 1)))  # type: ignore[union-attr]  # no int


@one_cpu_takes(sums.moments)
def moments(x: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of x and of its square over the samples, times weights: (B,...,C), (B,) -> (C), (C)."""
    weights = weights.reshape(-1, *[1] * (x.ndim - 1))
    return channel_sum(weights * x), channel_sum(weights * x, x)


@one_cpu_takes(sums.affine)
def affine(x: jax.Array, gain: jax.Array, shift: jax.Array) -> jax.Array:
    """x (...,C) * gain (C) + shift (C)."""
    return x * gain + shift


@one_cpu_takes(convolution.convolve)
def convolve(
    x: jax.Array,
    kernel: jax.Array,
    strides: Sequence[int],
    padding: Sequence[tuple[int, int]],
    **settings: Any,
) -> jax.Array:
    """lax.conv_general_dilated of x (B,H,W,C) and a kernel (kh,kw,C,D)."""
    return jax.lax.conv_general_dilated(x, kernel, strides, padding, **settings)


EPSILON = 1e-5  # of BatchNorm


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last, as torch.nn.BatchNorm2d (eps 1e-5, decay 0.9).

    flax's own keeps the biased running variance; PyTorch's, and so the published weights', is unbiased.
    Statistics and arithmetic are in float32, the result in the input's type. `train` is False for the running
    statistics, True for the batch's, or (B,) 0 or 1 for the batch's of some samples alone.
    """

    def __init__(self, features: int, *, scale: float = 1.0) -> None:
        self.scale = nnx.Param(np.full(features, scale, np.float32))
        self.bias = nnx.Param(np.zeros(features, np.float32))
        self.mean = nnx.BatchStat(np.zeros(features, np.float32))
        self.var = nnx.BatchStat(np.ones(features, np.float32))

    @property
    def folded(self) -> bool:
        """Whether all but a bias is in the kernel before it, by models/cpu/ready.py: then it has no scale."""
        return not self.scale[...].size

    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        dtype, x = x.dtype, x.astype(jnp.float32)
        if self.folded:
            return (x + self.bias[...]).astype(dtype)
        if train is not False:
            weights = jnp.ones(len(x)) if train is True else train
            count = weights.sum() * (x[0].size // x.shape[-1])
            total, squares = moments(x, weights)
            mean = total / jnp.maximum(count, 1)
            var = jnp.maximum(squares / jnp.maximum(count, 1) - mean**2, 0)
            unbiased = var * (count / jnp.maximum(count - 1, 1))
            rate = jnp.where(count > 0, 0.1, 0.0)
            # set_value and not [...]: that one asks a tracer for its sharding, seconds in the whole network
            self.mean.set_value((1 - rate) * self.mean[...] + rate * mean)
            self.var.set_value((1 - rate) * self.var[...] + rate * unbiased)
        else:
            mean, var = self.mean[...], self.var[...]
        gain = self.scale[...] / jnp.sqrt(var + EPSILON)
        shift = self.bias[...] - mean * gain
        return affine(x, gain, shift).astype(dtype)


class ConvNorm(nnx.Module):
    """Convolution padded by kernel // 2 on every side, then BatchNorm, then an optional ReLU."""

    def __init__(
        self,
        in_features: int,
        features: int,
        kernel: int = 3,
        stride: int = 1,
        *,
        use_bias: bool = False,
        relu: bool = True,
        rngs: Draws,
    ) -> None:
        # XLA's 'SAME' pads a stride-2 convolution on one side only; PyTorch pads both.
        pad = kernel // 2
        self.conv = nnx.Conv(
            in_features,
            features,
            (kernel, kernel),
            strides=stride,
            padding=((pad, pad), (pad, pad)),
            use_bias=use_bias,
            kernel_init=he_normal_out,
            promote_dtype=as_input,
            conv_general_dilated=convolve,
            rngs=rngs,  # type: ignore[arg-type]  # see Draws
        )
        self.norm = BatchNorm(features)
        self.relu = relu

    def __call__(self, x: jax.Array, train: bool | jax.Array) -> jax.Array:
        x = self.norm(self.conv(x), train)
        return relu(x) if self.relu else x
