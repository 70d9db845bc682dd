"""How far off the answer may be: a variance for every joint and vertex, read off the image feature.

The published log-variances cannot say it: the prior's are a hand mesh read as numbers, and those of the
joints are sums over vertices taken as independent. This head has the one task, and no gradient of its
leaves it: the network's answers are the same with it and without.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.layers import Rngs, layer_norm, linear
from amvur_jax.models.prior import constant
from mano_jax import HandModel

START = 2 * math.log(0.02)  # 2 cm
WRIST = 2 * math.log(0.005)  # what vertices at the wrist take their part of
REACH = 0.02  # m: how far along the template a joint's variance spreads to vertices


class Spread(NamedTuple):
    """Log-variance, m², of each coordinate of the wrist-relative joints (B,21) and vertices (B,V)."""

    joints: jax.Array
    vertices: jax.Array


class SpreadHead(nnx.Module):
    """Image feature (B,features) -> Spread."""

    def __init__(self, features: int, vertices: int, *, hidden: int = 128, rngs: Rngs) -> None:
        self.norm = layer_norm(features, rngs=rngs)
        self.hidden = linear(features, hidden, rngs=rngs)
        self.out = linear(
            hidden,
            20,
            rngs=rngs,
            kernel_init=nnx.initializers.normal(0.01),
            bias_init=constant([START] * 20),
        )
        # Only vertex labels train it; without them a vertex has what its joints give.
        self.vertex_offset = nnx.Param(jnp.zeros(vertices))

    def __call__(self, g: jax.Array, hand: HandModel) -> Spread:
        g = jax.lax.stop_gradient(g)
        fingers = self.out(jax.nn.relu(self.hidden(self.norm(g))))
        joints = jnp.concatenate([jnp.full_like(fingers[:, :1], WRIST), fingers], 1)
        weights = vertex_weights(hand).T
        vertices = jnp.matmul(joints, weights, precision="highest") + self.vertex_offset[...]
        return Spread(joints, vertices)


def vertex_weights(hand: HandModel) -> jax.Array:
    """(V,21), rows that sum to 1: the joints near each vertex of the flat template, by a Gaussian."""
    posed = hand.with_shape(None).with_pose(jnp.zeros((16, 3)))
    offsets = posed.vertices[:, None] - posed.joints_21("ho3d")
    return jax.nn.softmax(-0.5 * jnp.sum(offsets**2, -1) / REACH**2, -1)
