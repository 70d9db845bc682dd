"""Linear layers' and BatchNorm's sums over rows, at whose gradients XLA's CPU code is slow."""

import math

import jax
import jax.numpy as jnp

from amvur_jax.models.cpu.backend import JAX_0_10


@jax.custom_vjp
def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x (...,C) @ kernel (C,D), its gradients as products of whole rows.

    XLA takes the gradients of a product with more than two axes by transposed copies: the small network's
    step of batch 1 went from 38 to 28 ms (jax 0.10), with `add_bias`.
    """
    return x @ kernel


def _multiply_backward(
    kept: tuple[jax.Array, jax.Array], slope: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    rows, slopes = x.reshape(-1, x.shape[-1]), slope.reshape(-1, slope.shape[-1])
    of_kernel = jax.lax.dot_general(rows, slopes, (((0,), (0,)), ((), ())))
    return (slopes @ kernel.T).reshape(x.shape), of_kernel


multiply.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _multiply_backward)


def channel_sum(*factors: jax.Array) -> jax.Array:
    """Sum of the arrays' product over all axes but the last: (...,C) each -> (C).

    With jax 0.10 whole rows are added to each other, which XLA vectorises; a sum over rows it does not (3
    GB/s, a tenth of this). Later releases are as quick with the plain sum.
    """
    if not JAX_0_10:
        product = math.prod(factors)
        return product.sum(tuple(range(factors[0].ndim - 1)))  # type: ignore[union-attr]  # no int
    rows = [x.reshape(-1, x.shape[-1]) for x in factors]
    while len(rows[0]) > 32 and len(rows[0]) % 2 == 0:
        parts = [jnp.split(x, math.gcd(len(x), 16)) for x in rows]
        rows = [sum(math.prod(part) for part in zip(*parts))]
    return math.prod(rows).sum(0)  # type: ignore[union-attr]  # no int


@jax.custom_vjp
def add_bias(x: jax.Array, bias: jax.Array) -> jax.Array:
    """x (...,C) + bias (C), with the bias' gradient by `channel_sum` in float32."""
    return x + bias


add_bias.defvjp(
    lambda x, bias: (x + bias, None),
    lambda _, slope: (slope, channel_sum(slope.astype(jnp.float32)).astype(slope.dtype)),
)


@jax.custom_vjp
def moments(x: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums of x and of its square over the samples, times weights: (B,...,C), (B,) -> (C), (C).

    XLA wrote the squares, and the products of `affine`'s gradients, to memory before summing them (jax 0.10).
    """
    return weights @ sample_sum(x), weights @ sample_sum(x, x)


def _moments_backward(
    kept: tuple[jax.Array, jax.Array], slopes: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array]:
    x, weights = kept
    each = weights.reshape(-1, *[1] * (x.ndim - 1))
    return each * (slopes[0] + 2 * x * slopes[1]), jnp.zeros_like(weights)


moments.defvjp(lambda x, weights: (moments(x, weights), (x, weights)), _moments_backward)


def sample_sum(*factors: jax.Array) -> jax.Array:
    """Sum of the arrays' product over all axes but the first and the last, as `channel_sum`: -> (B,C)."""
    rows = [x.reshape(len(x), -1, x.shape[-1]) for x in factors]
    while JAX_0_10 and rows[0].shape[1] > 32 and rows[0].shape[1] % 2 == 0:
        parts = [jnp.split(x, math.gcd(x.shape[1], 16), 1) for x in rows]
        rows = [sum(math.prod(part) for part in zip(*parts))]
    return math.prod(rows).sum(1)  # type: ignore[union-attr]  # no int


@jax.custom_vjp
def affine(x: jax.Array, gain: jax.Array, shift: jax.Array) -> jax.Array:
    """x (...,C) * gain (C) + shift (C), with the gradients' sums by `channel_sum`."""
    return x * gain + shift


affine.defvjp(
    lambda x, gain, shift: (affine(x, gain, shift), (x, gain)),
    lambda kept, slope: (slope * kept[1], channel_sum(slope, kept[0]), channel_sum(slope)),
)
