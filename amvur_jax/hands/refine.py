"""A network's hand moved so that its joints are seen where a detector has them.

Levenberg-Marquardt on the wrist's turn, the fingers, the shape and the place: the landmarks draw, the
network's answer, as sure as its sigma says, and the joints' limits hold. docs/outputs.md has what it brings.
Our own loop: optimistix 0.1 compiled three times as long and took 60 times as long for a batch of hands.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from mano_jax import HandModel
from mano_jax.limits import POSE_HIGH, POSE_LOW
from mano_jax.rotations import rotation_matrix
from mano_jax.skeleton import Skeleton, skeleton

STEPS = 7
LEAST = 4  # landmarks, below which a hand is left as it is
# What each residual is a standard deviation of. Chosen on the photographs and the synthetic frames of
# docs/weights.md: nearer to the landmarks costs millimetres, for they are off themselves.
_LANDMARK = 0.0035  # of the hand's longer side, of landmarks that may be _BEST of it off; of others
_BEST = 0.046  # it grows with the third power of that
_FAR_OFF = 2.0  # deviations from which on a landmark counts by its distance, not the square of it
_BEND = 0.025  # of a finger's own range of motion, and
_BEND_LEAST = 0.01  # rad
_BEYOND = 0.05  # rad beyond the limits
_TURN = 1.0  # rad
_SHAPE = 0.5  # of betas
_FINGERS, _BETAS = 45, 10

Array: TypeAlias = Any  # of jax inside of jit, of numpy outside


class Posed(NamedTuple):
    """Hands before a camera.

    wrist (B,3,3) turns the model's axes into the camera's, about the wrist; fingers (B,15,3) axis-angles from
    the flat hand; betas (B,10); translation (B,3) m, added after the turn.
    """

    wrist: Array
    fingers: Array
    betas: Array
    translation: Array

    def moved(self, points: Array, root: Array) -> Array:
        """Points (...,n,3) of the unturned hand, whose wrist is at root (...,3), before the camera."""
        off = (points - root[..., None, :])[..., None, :] * self.wrist[..., None, :, :]
        return off.sum(-1) + (root + self.translation)[..., None, :]


class Seen(NamedTuple):
    """What one hand is moved by: xy (21,2) px, there (21,) 0 or 1, their deviation, px; camera (4,) fx, cx,
    fy, cy px; sigma (21,) m, of a coordinate relative to the wrist."""

    xy: jax.Array
    there: jax.Array
    deviation: jax.Array
    camera: jax.Array
    sigma: jax.Array


class _Search(NamedTuple):
    """The best change (61,) yet, its cost, residuals (n,) and slope (n,61); damping; what is tried next."""

    change: jax.Array
    cost: jax.Array
    missed: jax.Array
    slope: jax.Array
    damping: jax.Array
    tried: jax.Array


@functools.partial(jax.jit, static_argnames="fingertips")
def refine(
    hand: HandModel,
    start: Posed,
    joints: jax.Array,
    landmarks_px: jax.Array,
    camera: jax.Array,
    sigma: jax.Array,
    off: jax.Array,
    fingertips: str,
) -> Posed:
    """Move hands to where a detector has their joints.

    A hand with fewer than LEAST landmarks stays as it is.

    Args:
      hand: right hand model.
      start: B hands, the network's.
      joints: (B,21,3) m, their joints as the network regresses them from the mesh, which lie a millimetre
        beside the skeleton's: these are to be seen at the landmarks.
      landmarks_px: (B,21,2) px, the model's order; NaN where there is none.
      camera: (4,) fx, cx, fy, cy px, or (B,4).
      sigma: (B,21) m, of the network's joints, a coordinate, relative to the wrist.
      off: (B,) how far the landmarks may be off, of the hand's longer side in the picture.
      fingertips: preset, of what the landmarks of tips mean.
    """
    bones = skeleton(hand, fingertips)
    there = jnp.isfinite(landmarks_px).all(-1)
    enough = there.sum(-1) >= LEAST
    xy = jnp.where(there[..., None], landmarks_px, 0.0)
    low = jnp.where(there[..., None], xy, jnp.inf).min(1)
    high = jnp.where(there[..., None], xy, -jnp.inf).max(1)
    span = jnp.where(enough, (high - low).max(-1), 1.0)

    deviation = _LANDMARK * (off / _BEST) ** 3 * span

    def one(start: Posed, joints: jax.Array, seen: Seen) -> Posed:
        return _changed(start, _solve(bones, start, joints, seen))

    cameras = jnp.broadcast_to(camera, (len(xy), 4))
    better = jax.vmap(one)(start, joints, Seen(xy, there * 1.0, deviation, cameras, sigma))

    def either(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(enough.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(either, better, start)


def _changed(start: Posed, change: jax.Array) -> Posed:
    """One hand after a change (61,): the wrist's turn, fingers, betas, and the place in distances."""
    turn, fingers, betas, shift = jnp.split(change, (3, 3 + _FINGERS, 3 + _FINGERS + _BETAS))
    return Posed(
        rotation_matrix(turn) @ start.wrist,
        start.fingers + fingers.reshape(15, 3),
        start.betas + betas,
        start.translation + shift * jnp.abs(start.translation[2]),
    )


def _joints(bones: Skeleton, posed: Posed) -> jax.Array:
    """(21,3) m before the camera."""
    pose = jnp.concatenate([jnp.zeros((1, 3)), posed.fingers])
    joints = bones.joints_21(pose, posed.betas)
    return posed.moved(joints, joints[0])


def _solve(bones: Skeleton, start: Posed, regressed: jax.Array, seen: Seen) -> jax.Array:
    """The change (61,) of one hand that makes the sum of squared residuals least, or none."""
    before = _joints(bones, start)
    beside, before = regressed - before, before - before[:1]
    freedom = _BEND_LEAST + _BEND * (POSE_HIGH - POSE_LOW)[1:]

    def residuals(change: jax.Array) -> jax.Array:
        posed = _changed(start, change)
        joints = _joints(bones, posed)
        shown = joints + (beside[:, None] * rotation_matrix(change[:3])).sum(-1)
        at = shown[:, :2] / shown[:, 2:] * seen.camera[::2] + seen.camera[1::2]
        off = (at - seen.xy) * seen.there[:, None] / seen.deviation
        far = (off**2).sum(-1, keepdims=True) / _FAR_OFF**2
        off = off * jnp.sqrt(2 / (1 + jnp.sqrt(1 + far)))  # squared, it is the pseudo-Huber loss
        network = (joints - joints[:1] - before)[1:] / seen.sigma[1:, None]
        beyond = posed.fingers - jnp.clip(posed.fingers, POSE_LOW[1:], POSE_HIGH[1:])
        return jnp.concatenate(
            [
                off.ravel(),
                network.ravel(),
                (posed.fingers - start.fingers).ravel() / freedom.ravel(),
                beyond.ravel() / _BEYOND,
                posed.betas / _SHAPE,
                posed.betas - start.betas,
                change[:3] / _TURN,
            ]
        )

    # Where the last try was worse, from the best again, more carefully. Each turn looks at one try: with
    # residuals and slope in one place there is half as much to compile.
    def step(state: _Search, _: None) -> tuple[_Search, None]:
        slope, missed = jax.jacfwd(lambda x: (residuals(x),) * 2, has_aux=True)(state.tried)
        cost = (missed**2).sum()
        good = cost < state.cost
        found = _Search(state.tried, cost, missed, slope, 0.3 * state.damping, state.tried)
        kept = state._replace(damping=5.0 * state.damping)
        best: _Search = jax.tree.map(lambda a, b: jnp.where(good, a, b), found, kept)
        curvature = best.slope.T @ best.slope
        scale = jnp.diag(jnp.diag(curvature))
        factor = jax.scipy.linalg.cho_factor(curvature + best.damping * scale)
        change = jax.scipy.linalg.cho_solve(factor, best.slope.T @ best.missed)
        return best._replace(tried=best.change - change), None

    none = jnp.zeros(3 + _FINGERS + _BETAS + 3)
    missed = jnp.zeros(jax.eval_shape(residuals, none).shape)
    slope, damping = jnp.zeros((*missed.shape, *none.shape)), jnp.asarray(0.01 / 0.3)
    first = _Search(none, jnp.asarray(jnp.inf), missed, slope, damping, none)
    best, _ = jax.lax.scan(step, first, length=1 + STEPS)
    return best.change
