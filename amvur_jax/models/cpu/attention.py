"""Attention whose weights are made again for the gradient, laid out for XLA's CPU products."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from amvur_jax.models.cpu.backend import JAX_0_10

T = TypeVar("T")
R = TypeVar("R")


@jax.custom_vjp
def attend_remaking(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """transformer.attend, with weights that are made again for the gradient and not kept.

    For the gradient only the softmax's largest logits and sums are kept, as in FlashAttention (Dao et al.
    2022, algorithm 4). Every product has its operands laid out beforehand. A layer of the small network
    forward and back, batch 64: 66 to 50 ms (jax 0.10).

    Args:
      q: (B,N,heads,d).
      k, v: (B,M,heads,d).
    Returns:
      (B,N,heads,d).
    """
    return _attend_forward(q, k, v)[0]


def _for_samples(function: Callable[[T], R], operands: T) -> R:
    """function(operands): all samples at once, but with jax 0.10 each in its turn, which is quicker there."""
    return jax.lax.map(function, operands) if JAX_0_10 else function(operands)


def _attend_forward(
    q: jax.Array, k: jax.Array, v: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    def sample(
        operands: tuple[jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        k, q, v = operands
        logits = _product(k, q)
        largest = logits.max(-2, keepdims=True)
        weights = jnp.exp(logits - largest)
        total = weights.sum(-2, keepdims=True)
        return _product(v, weights.astype(v.dtype)) / total, largest, total

    operands = (_tokens_down(k), _tokens_across(q) / math.sqrt(q.shape[-1]), _tokens_across(v))
    out, largest, total = _for_samples(sample, operands)
    return jnp.einsum("bhdn->bnhd", out).astype(v.dtype), (q, k, v, out, largest, total)


def _attend_backward(kept: tuple[jax.Array, ...], slope: jax.Array) -> tuple[jax.Array, ...]:
    q, k, v, out, largest, total = kept
    root = math.sqrt(q.shape[-1])
    # The weights are made before the division by their total: the slope is divided in their place.
    slope = _tokens_across(slope) / total
    # What the logits' slopes of one query have in common.
    shared = (slope * out).sum(-2, keepdims=True)
    slope = slope.astype(v.dtype)

    def sample(operands: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        (k, v, q, slope), (k_across, q_across, slope_across), largest, shared = operands
        weights = jnp.exp(_product(k, q_across) - largest)
        logits = (weights * (_product(v, slope_across) - shared)).astype(k.dtype)
        return (
            _product(k_across, logits),
            _product(logits, q),
            _product(weights.astype(k.dtype), slope),
        )

    down = (_tokens_down(k), _tokens_down(v), _tokens_down(q / root), slope.mT)
    across = (_tokens_across(k), _tokens_across(q / root), slope)
    of_q, of_k, of_v = _for_samples(sample, (down, across, largest, shared))
    slopes = (
        jnp.einsum("bhdn->bnhd", of_q) / root,
        jnp.einsum("bhmd->bmhd", of_k),
        jnp.einsum("bhmd->bmhd", of_v),
    )
    return tuple(x.astype(q.dtype) for x in slopes)


attend_remaking.defvjp(_attend_forward, _attend_backward)


def _tokens_down(x: jax.Array) -> jax.Array:
    return jnp.einsum("bnhd->bhnd", x)


def _tokens_across(x: jax.Array) -> jax.Array:
    return jnp.einsum("bnhd->bhdn", x)


def _product(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)
