"""Layers with PyTorch's arithmetic: Linear, padded Conv, BatchNorm (unbiased running variance), dropout."""

import jax
import jax.numpy as jnp
from flax import nnx

# PyTorch's default for Linear: U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
TORCH_UNIFORM = nnx.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
HE_NORMAL = nnx.initializers.variance_scaling(2.0, "fan_out", "normal")
BERT_NORMAL = nnx.initializers.normal(0.02)


def as_input(arrays, *, dtype=None, inexact=True):
    """Cast a layer's (input, parameters...) to the input's type: who calls it chooses the precision."""
    return tuple(None if a is None else a.astype(arrays[0].dtype) for a in arrays)


def linear(in_features, out_features, *, rngs, kernel_init=TORCH_UNIFORM, bias_init=None):
    """An nnx.Linear with a bias, initialised as PyTorch does unless said otherwise."""
    return nnx.Linear(
        in_features,
        out_features,
        kernel_init=kernel_init,
        bias_init=bias_init or nnx.initializers.zeros_init(),
        promote_dtype=as_input,
        rngs=rngs,
    )


def numbered(name, modules):
    """An nnx.Dict {name0: ..., name1: ...}: readable paths in the parameter tree."""
    return nnx.Dict({f"{name}{i}": module for i, module in enumerate(modules)})


def dropout(x, rate, key):
    """Inverted dropout of x with probability `rate`; key None (evaluation) leaves x as it is."""
    if key is None or rate == 0:
        return x
    keep = jax.random.bernoulli(key, 1 - rate, x.shape)
    return jnp.where(keep, x / (1 - rate), 0)


class BatchNorm(nnx.Module):
    """Batch normalisation over all axes but the last, as torch.nn.BatchNorm2d (eps 1e-5, decay 0.9).

    flax's own keeps the biased running variance; PyTorch's, and so the published weights', is unbiased.
    Statistics and arithmetic are in float32, the result in the input's type.
    """

    def __init__(self, features, *, scale=1.0):
        self.scale = nnx.Param(jnp.full(features, scale, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(features))
        self.mean = nnx.BatchStat(jnp.zeros(features))
        self.var = nnx.BatchStat(jnp.ones(features))

    def __call__(self, x, train):
        dtype, x = x.dtype, x.astype(jnp.float32)
        if train:
            axes = tuple(range(x.ndim - 1))
            count = x.size // x.shape[-1]
            mean = x.mean(axes)
            var = jnp.maximum((x**2).mean(axes) - mean**2, 0)
            unbiased = var * (count / max(count - 1, 1))
            # set_value and not [...]: that one asks a tracer for its sharding, seconds in the whole network
            self.mean.set_value(0.9 * self.mean[...] + 0.1 * mean)
            self.var.set_value(0.9 * self.var[...] + 0.1 * unbiased)
        else:
            mean, var = self.mean[...], self.var[...]
        gain = self.scale[...] / jnp.sqrt(var + 1e-5)
        return (x * gain + (self.bias[...] - mean * gain)).astype(dtype)


class ConvNorm(nnx.Module):
    """Convolution padded by kernel // 2 on every side, then BatchNorm, then an optional ReLU."""

    def __init__(
        self, in_features, features, kernel=3, stride=1, *, use_bias=False, relu=True, rngs
    ):
        # XLA's 'SAME' pads a stride-2 convolution on one side only; PyTorch pads both.
        pad = kernel // 2
        self.conv = nnx.Conv(
            in_features,
            features,
            (kernel, kernel),
            strides=stride,
            padding=((pad, pad), (pad, pad)),
            use_bias=use_bias,
            kernel_init=HE_NORMAL,
            promote_dtype=as_input,
            rngs=rngs,
        )
        self.norm = BatchNorm(features)
        self.relu = relu

    def __call__(self, x, train):
        x = self.norm(self.conv(x), train)
        return jax.nn.relu(x) if self.relu else x
