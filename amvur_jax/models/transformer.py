"""The AMVUR transformer block: joint-to-vertex cross attention, then BERT layers on the vertex tokens."""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.layers import BERT_NORMAL, add_bias, as_input, dropout, gelu, linear, project
from amvur_jax.sharding import JAX_0_10, on_one_cpu

JOINT_TOKENS = 21


def keys_for(key, count):
    """`count` independent keys, or that many Nones where there is no randomness (evaluation)."""
    return [None] * count if key is None else list(jax.random.split(key, count))


def bert_linear(in_features, out_features, rngs):
    return linear(in_features, out_features, kernel_init=BERT_NORMAL, rngs=rngs)


class Attention(nnx.Module):
    """Multi-head attention without an output projection: softmax(q k^T / sqrt(d)) v, heads joined."""

    def __init__(self, features, heads, *, rngs):
        self.query = bert_linear(features, features, rngs)
        self.key = bert_linear(features, features, rngs)
        self.value = bert_linear(features, features, rngs)
        self.heads = heads

    def __call__(self, queries, sources, rate, key):
        def split(x):
            return x.reshape(*x.shape[:-1], self.heads, -1)

        q, k, v = split(self.query(queries)), split(self.key(sources)), split(self.value(sources))
        if key is not None and rate:
            out = attend(q, k, v, lambda weights: dropout(weights, rate, key))
        elif on_one_cpu():
            out = attend_remaking(q, k, v)
        else:
            out = attend(q, k, v)
        return out.reshape(*queries.shape[:-1], -1)


def attend(q, k, v, drop=lambda weights: weights):
    """softmax(q k^T / sqrt(d)) v, weights in float32.

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


@jax.custom_vjp
def attend_remaking(q, k, v):
    """`attend` for a CPU, with weights that are made again for the gradient and not kept.

    For the gradient only the softmax's largest logits and sums are kept, as in FlashAttention (Dao et al.
    2022, algorithm 4). Every product has its operands laid out beforehand.

    Args:
      q: (B,N,heads,d).
      k, v: (B,M,heads,d).
    Returns:
      (B,N,heads,d).
    """
    return _attend_forward(q, k, v)[0]


def _for_samples(function, operands):
    """function(operands): all samples at once, but with jax 0.10 each in its turn, which is quicker there."""
    return jax.lax.map(function, operands) if JAX_0_10 else function(operands)


def _attend_forward(q, k, v):
    def sample(operands):
        k, q, v = operands
        logits = _product(k, q)
        largest = logits.max(-2, keepdims=True)
        weights = jnp.exp(logits - largest)
        total = weights.sum(-2, keepdims=True)
        return _product(v, weights.astype(v.dtype)) / total, largest, total

    operands = (_tokens_down(k), _tokens_across(q) / math.sqrt(q.shape[-1]), _tokens_across(v))
    out, largest, total = _for_samples(sample, operands)
    return jnp.einsum("bhdn->bnhd", out).astype(v.dtype), (q, k, v, out, largest, total)


def _attend_backward(kept, slope):
    q, k, v, out, largest, total = kept
    root = math.sqrt(q.shape[-1])
    # The weights are made before the division by their total: the slope is divided in their place.
    slope = _tokens_across(slope) / total
    # What the logits' slopes of one query have in common.
    shared = (slope * out).sum(-2, keepdims=True)
    slope = slope.astype(v.dtype)

    def sample(operands):
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


def _tokens_down(x):
    return jnp.einsum("bnhd->bhnd", x)


def _tokens_across(x):
    return jnp.einsum("bnhd->bhdn", x)


def _product(a, b):
    return jnp.matmul(a, b, preferred_element_type=jnp.float32)


class BertLayer(nnx.Module):
    """Post-norm layer: a = LN(x + W attn(x)), LN(a + W2 gelu(W1 a)), exact GELU (Devlin et al. 2019)."""

    def __init__(self, features, heads, feed_forward, *, rngs):
        self.attention = Attention(features, heads, rngs=rngs)
        self.attention_out = bert_linear(features, features, rngs)
        self.attention_norm = nnx.LayerNorm(features, epsilon=1e-12, rngs=rngs)
        self.feed_forward_in = bert_linear(features, feed_forward, rngs)
        self.feed_forward_out = bert_linear(feed_forward, features, rngs)
        self.feed_forward_norm = nnx.LayerNorm(features, epsilon=1e-12, rngs=rngs)

    def __call__(self, x, rate, key):
        k1, k2, k3 = keys_for(key, 3)
        a = dropout(self.attention_out(self.attention(x, x, rate, k1)), rate, k2)
        a = self.attention_norm(x + a).astype(x.dtype)
        y = self.feed_forward_out(gelu(self.feed_forward_in(a)))
        return self.feed_forward_norm(a + dropout(y, rate, k3)).astype(x.dtype)


def token_linear(layer, tokens, shared, mask):
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
    y = project(tokens, kernel[:channels])
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
        self, in_features, hidden, out, *, layers, heads, feed_forward, positions, log_var, rngs
    ):
        self.embed = bert_linear(in_features, hidden, rngs)
        self.positions = nnx.Param(BERT_NORMAL(rngs.params(), (positions, hidden)))
        self.cross_attention = Attention(hidden, heads, rngs=rngs)
        self.layers = nnx.Dict(
            {f"layer{i}": BertLayer(hidden, heads, feed_forward, rngs=rngs) for i in range(layers)}
        )
        self.head = bert_linear(hidden, out, rngs)
        self.residual = bert_linear(in_features, out, rngs)
        self.has_log_var = log_var
        if log_var:
            self.log_var_head = bert_linear(hidden, out, rngs)

    def __call__(self, tokens, shared=None, mask=None, *, rate=0.0, key=None, dtype=jnp.float32):
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
