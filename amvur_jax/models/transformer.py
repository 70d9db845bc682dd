"""The AMVUR transformer block: joint-to-vertex cross attention, then BERT layers on the vertex tokens."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from amvur_jax.models.cpu import attention
from amvur_jax.models.cpu.backend import one_cpu_takes
from amvur_jax.models.initial import Draws, normal
from amvur_jax.models.layers import (
    Linear,
    add_bias,
    as_input,
    dropout,
    gelu,
    layer_norm,
    linear,
    multiply,
)

JOINT_TOKENS = 21
bert_normal = normal(0.02)


def keys_for(key: jax.Array | None, count: int) -> list[jax.Array | None]:
    """`count` independent keys, or that many Nones where there is no randomness (evaluation)."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def bert_linear(in_features: int, out_features: int, rngs: Draws) -> Linear:
    return linear(in_features, out_features, kernel_init=bert_normal, rngs=rngs)


class Attention(nnx.Module):
    """Multi-head attention without an output projection: softmax(q k^T / sqrt(d)) v, heads joined."""

    def __init__(self, features: int, heads: int, *, rngs: Draws) -> None:
        self.query = bert_linear(features, features, rngs)
        self.key = bert_linear(features, features, rngs)
        self.value = bert_linear(features, features, rngs)
        self.heads = heads

    def __call__(
        self, queries: jax.Array, sources: jax.Array, rate: float, key: jax.Array | None
    ) -> jax.Array:
        def split(x: jax.Array) -> jax.Array:
            return x.reshape(*x.shape[:-1], self.heads, -1)

        q, k, v = split(self.query(queries)), split(self.key(sources)), split(self.value(sources))
        if key is not None and rate:
            out = attend_dropping(q, k, v, lambda weights: dropout(weights, rate, key))
        else:
            out = attend(q, k, v)
        return out.reshape(*queries.shape[:-1], -1)


@one_cpu_takes(attention.attend_remaking)
def attend(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(d)) v: q (...,N,heads,d), k and v (...,M,heads,d) -> (...,N,heads,d)."""
    return attend_dropping(q, k, v, lambda weights: weights)


def attend_dropping(
    q: jax.Array, k: jax.Array, v: jax.Array, drop: Callable[[jax.Array], jax.Array]
) -> jax.Array:
    """`attend` with some of the weights dropped; the weights are in float32.

    The weights stand with the keys down the columns: XLA's CPU code vectorises a softmax along those.

    Args:
      q: (...,N,heads,d).
      k, v: (...,M,heads,d).
      drop: what becomes of the softmax's weights (...,heads,M,N).
    Returns:
      (...,N,heads,d).
    """
    q = q / jnp.sqrt(q.shape[-1]).astype(q.dtype)
    logits = jnp.einsum("...khd,...qhd->...hkq", k, q, preferred_element_type=jnp.float32)
    weights = drop(jax.nn.softmax(logits, -2)).astype(v.dtype)
    return jnp.einsum("...hkq,...khd->...qhd", weights, v)


class BertLayer(nnx.Module):
    """Post-norm layer: a = LN(x + W attn(x)), LN(a + W2 gelu(W1 a)), exact GELU (Devlin et al. 2019)."""

    def __init__(self, features: int, heads: int, feed_forward: int, *, rngs: Draws) -> None:
        self.attention = Attention(features, heads, rngs=rngs)
        self.attention_out = bert_linear(features, features, rngs)
        self.attention_norm = layer_norm(features, epsilon=1e-12, rngs=rngs)
        self.feed_forward_in = bert_linear(features, feed_forward, rngs)
        self.feed_forward_out = bert_linear(feed_forward, features, rngs)
        self.feed_forward_norm = layer_norm(features, epsilon=1e-12, rngs=rngs)

    def __call__(self, x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
        k1, k2, k3 = keys_for(key, 3)
        a = dropout(self.attention_out(self.attention(x, x, rate, k1)), rate, k2)
        a = self.attention_norm(x + a).astype(x.dtype)
        y = self.feed_forward_out(gelu(self.feed_forward_in(a)))
        return self.feed_forward_norm(a + dropout(y, rate, k3)).astype(x.dtype)


def token_linear(
    layer: Linear, tokens: jax.Array, shared: jax.Array | None, mask: jax.Array | None
) -> jax.Array:
    """layer(mask * concat(tokens, shared) + 0.01 (1 - mask)) without building the concatenation.

    `shared` (B,G) is the same for every token of a sample, so its product is made once a sample;
    tokens that are the same for every sample, once a token.

    Args:
      layer: nnx.Linear of C + G inputs.
      tokens: (B,N,C), or (N,C) with `shared`.
      shared: (B,G) or None (G = 0).
      mask: (B,N,1), 1 = keep, or None for all ones.
    Returns:
      (B,N,out).
    """
    _, kernel, bias = as_input((tokens, layer.kernel[...], layer.bias[...]))
    channels = tokens.shape[-1]
    y = multiply(tokens, kernel[:channels])
    if shared is not None:
        # Zeros in front in place of the kernel's end: XLA would copy that.
        y = y + (jnp.pad(shared, ((0, 0), (channels, 0))) @ kernel)[:, None]
    if mask is not None:
        y = mask * y + (1 - mask) * 0.01 * kernel.sum(0)
    return add_bias(y, bias)


class TokenBlock(nnx.Module):
    """One block of the AMVUR transformer (paper, section 3.2), also the texture transformer.

    The first 21 tokens are joints: keys and values of the cross attention, otherwise untouched.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out: int,
        *,
        layers: int,
        heads: int,
        feed_forward: int,
        positions: int,
        log_var: bool,
        rngs: Draws,
    ) -> None:
        self.embed = bert_linear(in_features, hidden, rngs)
        self.positions = nnx.Param(bert_normal(rngs.params(), (positions, hidden)))
        self.cross_attention = Attention(hidden, heads, rngs=rngs)
        self.layers = nnx.Dict(
            {f"layer{i}": BertLayer(hidden, heads, feed_forward, rngs=rngs) for i in range(layers)}
        )
        self.head = bert_linear(hidden, out, rngs)
        self.residual = bert_linear(in_features, out, rngs)
        self.has_log_var = log_var
        if log_var:
            self.log_var_head = bert_linear(hidden, out, rngs)

    def __call__(
        self,
        tokens: jax.Array,
        shared: jax.Array | None = None,
        mask: jax.Array | None = None,
        *,
        rate: float = 0.0,
        key: jax.Array | None = None,
        dtype: DTypeLike = jnp.float32,
    ) -> tuple[jax.Array, jax.Array | None]:
        """tokens (B,N,C), or (N,C) with shared (B,G), mask (B,N,1) or None -> (B,N,out), log_var or None.

        dtype: of the attention; what it reads and gives, metres in the last block, stays in float32.
        """
        embed_key, cross_key, *layer_keys = keys_for(key, 2 + len(self.layers))
        embedded = jax.tree.map(lambda a: a.astype(dtype), (tokens, shared, mask))
        x = token_linear(self.embed, *embedded)
        x = dropout(x + self.positions[: x.shape[1]].astype(dtype), rate, embed_key)
        joints, vertices = x[:, :JOINT_TOKENS], x[:, JOINT_TOKENS:]
        vertices = vertices + self.cross_attention(vertices, joints, rate, cross_key)
        for layer, layer_key in zip(self.layers.values(), layer_keys):
            vertices = layer(vertices, rate, layer_key)
        x = jnp.concatenate([joints, vertices], 1).astype(jnp.float32)
        y = self.head(x) + token_linear(self.residual, tokens, shared, mask)
        return y, self.log_var_head(x) if self.has_log_var else None
