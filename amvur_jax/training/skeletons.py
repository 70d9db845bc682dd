"""Posed skeletons made up inside the step, and what a detector would make of them: the pose head's exercise.

Lengths in crops' sides, except joints before the camera (m). The kinds of fault are those seen in landmark
networks: a hand as a whole better or worse, fingers that are off together, another hand than the one that is
there, single wild joints, missing ones, depths that are unsure, not there at all, or those of the hand seen
from behind. How far it may be off a detector knows more or less.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax.models.cameras import relative_depth
from amvur_jax.models.pose_head import Keypoints, confidence, rotation_of, whole_pose
from mano_jax.limits import sample_wide_pose
from mano_jax.skeleton import Skeleton

POSES = 32768
_ALONG = np.tile([0.25, 0.5, 0.75, 1.0], 5).astype(np.float32)  # a finger is off most at its tip
# Of the noise of a coordinate, in hands; the distance that it comes to; how much more of it depths have.
_LEVEL, _FAR, _DEEPER = (0.003, 0.14), 1.5, (1.0, 6.0)
_FOCAL, _SPAN = (1.2, 5.0), (0.5, 0.95)


class Labels(NamedTuple):
    """The truth of B hands: joints (B,21,3) m in the camera, xy (B,21,2), depth (B,21), rotation (B,3,3)."""

    joints: jax.Array
    xy: jax.Array
    depth: jax.Array
    rotation: jax.Array


def pose_bank(seed: int = 0, count: int = POSES) -> jax.Array:
    """(count,15,3) finger poses, radians, of mano_jax.limits.sample_wide_pose."""
    return jnp.asarray(sample_wide_pose(np.random.default_rng(seed), count)[:, 1:])


def draw_skeletons(key: jax.Array, bank: jax.Array, bones: Skeleton, count: int) -> Labels:
    """`count` hands of any shape, pose, rotation, distance and focal length, in the middle of the crop."""
    keys = jax.random.split(key, 7)
    first, second = bank[jax.random.randint(keys[0], (2, count), 0, len(bank))]
    # Between two poses there are others.
    part = jax.random.uniform(keys[1], (count, 1, 1)) * jax.random.bernoulli(
        keys[2], 0.5, (count, 1, 1)
    )
    fingers = first + 0.5 * part * (second - first)
    betas = jnp.clip(0.9 * jax.random.normal(keys[3], (count, 10)), -2, 2)
    rotation = rotation_of(jax.random.normal(keys[4], (count, 6)))
    joints = bones.joints_21(whole_pose(fingers), betas)
    joints = jnp.einsum("bij,bkj->bki", rotation, joints - joints[:, :1], precision="highest")
    focal = jnp.exp(_uniform(keys[5], (count,), *(math.log(f) for f in _FOCAL)))
    span = _uniform(keys[6], (count,), *_SPAN)
    low, high = joints.min(1), joints.max(1)
    depth = focal * (high - low)[:, :2].max(-1) / span
    depth = jnp.maximum(depth, -2.0 * low[:, 2])
    middle = (low + high)[:, :2] / 2
    joints = joints + jnp.concatenate([-middle, depth[:, None]], -1)[:, None]
    xy = joints[..., :2] / joints[..., 2:] * focal[:, None, None] + 0.5
    return Labels(joints, xy, relative_depth(joints, focal), rotation)


def disturbed(
    key: jax.Array, xy: jax.Array, depth: jax.Array, valid: jax.Array, has_depth: jax.Array
) -> Keypoints:
    """Keypoints as a detector might give them.

    Args:
      key: random key.
      xy: (B,21,2) true places in [0,1] of the crop; depth: (B,21) true ones.
      valid: (B,21) 0 or 1, of xy; has_depth: (B,) 0 or 1.
    """
    keys = iter(jax.random.split(key, 16))
    count, one, all_ = len(xy), (len(xy), 1), depth.shape
    span = (xy.max(1) - xy.min(1)).max(-1)[:, None] + 1e-3

    def faults(level: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """Of single joints and of fingers, (B,21,...)."""
        single = jax.random.normal(next(keys), shape)
        finger = jnp.repeat(jax.random.normal(next(keys), (count, 5, *shape[2:])), 4, 1)
        along = _ALONG.reshape(1, 20, *[1] * (len(shape) - 2))
        single = single.at[:, 1:].add(finger * along)
        return single * level.reshape(-1, *[1] * (len(shape) - 1))

    level = jnp.exp(_uniform(next(keys), one, *(math.log(x) for x in _LEVEL)))
    noise = faults(span * level, xy.shape)
    # Of another hand as much as makes it this far off.
    other = jnp.roll(xy - xy.mean(1, keepdims=True), 1, 0) + xy.mean(1, keepdims=True) - xy
    far = jnp.linalg.norm(other, axis=-1).mean(-1)[:, None] + 1e-6
    part = jnp.minimum(_FAR * level * span / far, 1.0)[..., None]
    mistaken = jax.random.bernoulli(next(keys), 0.3, one)[..., None]
    noise = jnp.where(mistaken, part * other + 0.3 * noise, noise)
    wild = jax.random.bernoulli(next(keys), 0.02, all_)[..., None]
    noise = noise + wild * 0.1 * span[..., None] * jax.random.normal(next(keys), xy.shape)
    some = jax.random.bernoulli(next(keys), 0.2, one)
    lost = some & (jax.random.uniform(next(keys), all_) < 0.5 * jax.random.uniform(next(keys), one))
    guess = _FAR * level * jnp.exp(0.4 * jax.random.normal(next(keys), one))
    weight = valid * (1.0 - lost) * confidence(guess)
    deeper = jnp.exp(_uniform(next(keys), one, *(math.log(x) for x in _DEEPER)))
    depth = depth * jnp.exp(0.4 * jax.random.normal(next(keys), one))
    depth = jnp.where(jax.random.bernoulli(next(keys), 0.3 * level / _LEVEL[1]), -depth, depth)
    depth = depth + faults(span * jnp.minimum(deeper * level, 0.3), all_)
    flat = jax.random.bernoulli(next(keys), 0.25, one)
    return Keypoints(xy + noise, depth, weight, weight * has_depth[:, None] * (1.0 - flat))


def _uniform(key: jax.Array, shape: tuple[int, ...], low: float, high: float) -> jax.Array:
    return jax.random.uniform(key, shape, minval=low, maxval=high)
