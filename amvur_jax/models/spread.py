"""How far off the answer may be: a variance for every joint and vertex, read off the image feature.

The published log-variances cannot say it: the prior's are a hand mesh read as numbers, and those of the
joints are sums over vertices taken as independent. This head has the one task, and no gradient of its
leaves it: the network's answers are the same with it and without. With `cues` it sees, too, how blurred the
joints' heat is, who gave the joints, and how well the residual pose head's answer meets them. `NearHead` adds
what is on the maps where each joint is: a thing before it, or the crop's edge.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from amvur_jax.models.cameras import project_sides, relative_depth
from amvur_jax.models.initial import Draws, constant, normal
from amvur_jax.models.layers import layer_norm, linear
from amvur_jax.models.pose_head import Keypoints, Turns
from amvur_jax.models.texture import vertex_features
from mano_jax import HandModel

START = 2 * math.log(0.02)  # 2 cm
WRIST = 2 * math.log(0.005)  # what vertices at the wrist take their part of
CUES = 4 * 21 + 1
REACH = 0.02  # m: how far along the template a joint's variance spreads to vertices


class Spread(NamedTuple):
    """Log-variance, m², of each coordinate of the wrist-relative joints (B,21) and vertices (B,V)."""

    joints: jax.Array
    vertices: jax.Array


class SpreadHead(nnx.Module):
    """Image feature (B,features) -> Spread."""

    def __init__(
        self, features: int, vertices: int, *, hidden: int = 128, cues: bool = False, rngs: Draws
    ) -> None:
        self.norm = layer_norm(features, rngs=rngs)
        self.hidden = linear(features, hidden, rngs=rngs)
        self.out = linear(
            hidden,
            20,
            rngs=rngs,
            kernel_init=normal(0.01),
            bias_init=constant([START] * 20),
        )
        # Only vertex labels train it; without them a vertex has what its joints give.
        self.vertex_offset = nnx.Param(np.zeros(vertices, np.float32))
        if cues:
            self.cues = linear(CUES, hidden, rngs=rngs)

    def __call__(
        self,
        g: jax.Array,
        hand: HandModel,
        cues: jax.Array | None = None,
        near: jax.Array | None = None,
    ) -> Spread:
        """g (B,features), cues of `cues_of`, near (B,21) of `NearHead`."""
        x = self.hidden(self.norm(jax.lax.stop_gradient(g)))
        if cues is not None:
            x = x + self.cues(jax.lax.stop_gradient(cues))
        fingers = self.out(jax.nn.relu(x))
        if near is not None:
            fingers = fingers + near[:, 1:]
        joints = jnp.concatenate([jnp.full_like(fingers[:, :1], WRIST), fingers], 1)
        weights = vertex_weights(hand).T
        vertices = jnp.matmul(joints, weights, precision="highest") + self.vertex_offset[...]
        return Spread(joints, vertices)


class NearHead(nnx.Module):
    """What is on the maps where joints are -> how much more or less sure each is, a log-variance (B,21).

    The same for all joints, and 0 at the start: with it the network starts as without.
    """

    def __init__(self, channels: int, *, hidden: int = 32, rngs: Draws) -> None:
        self.norm = layer_norm(channels, rngs=rngs)
        self.hidden = linear(channels, hidden, rngs=rngs)
        self.out = linear(hidden, 1, kernel_init=constant([0.0]), rngs=rngs)

    def __call__(self, maps: Sequence[jax.Array], at: jax.Array) -> jax.Array:
        """Maps (B,H,W,C), channels in all, joints at (B,21,2) in [0,1] of the crop."""
        x = jax.lax.stop_gradient(vertex_features(maps, at)).astype(jnp.float32)
        return self.out(jax.nn.relu(self.hidden(self.norm(x))))[..., 0]


def cues_of(seen: Keypoints, turns: Turns, blur: jax.Array | None, given: jax.Array) -> jax.Array:
    """What else tells how far off a residual pose head's answer may be, (B,CUES), about 1 in size.

    Args:
      seen: Keypoints that the head saw.
      turns: its Turns; those of more samples, behind these, are left out.
      blur: (B,21) of the map's heat, sides, or None where there is no map.
      given: (B,) 0 or 1, whose keypoints are not the map's.
    """
    xy, depth, weight, depth_weight = seen
    b = len(depth)
    joints, camera = turns.joints[-1, :b], turns.camera[:b]
    span = jnp.sqrt(((xy - xy.mean(1, keepdims=True)) ** 2).mean((1, 2)) + 1e-6)[:, None]
    off = jnp.linalg.norm(xy - project_sides(joints, camera) + 1e-9, axis=-1) / span * weight
    deep = jnp.abs(depth - relative_depth(joints, camera[:, 0])) / span * depth_weight
    blurred = jnp.zeros((b, 21)) if blur is None else jnp.log(blur) + 3.0
    blurred = blurred * (1 - given[:, None])
    parts = [jnp.log(off + 0.01) + 3.0, deep, weight, blurred, given[:, None]]
    return jnp.clip(jnp.concatenate(parts, -1), -4, 4)


def vertex_weights(hand: HandModel) -> jax.Array:
    """(V,21), rows that sum to 1: the joints near each vertex of the flat template, by a Gaussian."""
    posed = hand.with_shape(None).with_pose(jnp.zeros((16, 3)))
    offsets = posed.vertices[:, None] - posed.joints_21("ho3d")
    return jax.nn.softmax(-0.5 * jnp.sum(offsets**2, -1) / REACH**2, -1)
