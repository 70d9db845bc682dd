"""Fits the hand to pictures through the rasteriser: pose, shape and camera, by gradient descent.

Silhouettes from several sides bring the hand near, first as a whole, then with its fingers; their
outlines sharpen, and a textured picture settles what outlines leave open.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

import render
from amvur_jax.fitting.rig import LIGHT, Observation, Rig, pool
from mano_jax import HandModel
from mano_jax.limits import POSE_HIGH, POSE_LOW
from mano_jax.rotations import rotation_matrix

NUM_POSE, NUM_BETAS = 15, 10
_COARSEST = 2  # pictures are compared at every half of their size down to this, px
_ADAM = optax.scale_by_adam(b1=0.9, b2=0.99)

Leaf = TypeVar("Leaf")  # of Parameters: jax.Array, np.ndarray or float


class Parameters(NamedTuple, Generic[Leaf]):
    """A hand before cameras; every field with the same leading batch axes.

    Attributes:
      rotation: (..., 3) axis-angle of the hand about the world's origin, radians.
      translation: (..., 3) of the hand, that is of the cameras about it, m.
      focal: (...) logarithm of the cameras' focal length over the nominal one.
      pose: (..., NUM_POSE) coefficients of the finger pose's principal components, radians.
      betas: (..., NUM_BETAS) shape.
    """

    rotation: Leaf
    translation: Leaf
    focal: Leaf
    pose: Leaf
    betas: Leaf


# A step of Adam is about as long as the learning rate: one for each field, in the field's unit.
RATES = Parameters(rotation=0.03, translation=0.003, focal=0.005, pose=0.03, betas=0.1)


@dataclasses.dataclass(frozen=True)
class Stage:
    """A part of the descent.

    Attributes:
      share: of all steps.
      shrink: pictures are made smaller by this factor.
      sigma: softness of the outlines, squared normalised units.
      photometric: weight of the picture beside the silhouettes; 0 leaves it undrawn.
      rate: the learning rates at its beginning and end, over RATES.
      rigid: whether only rotation and translation move.
    """

    share: float
    shrink: int
    sigma: float
    photometric: float
    rate: tuple[float, float]
    rigid: bool = False


# Wide outlines at first: narrow ones settle some starts with a finger in another's outline.
STAGES = (
    Stage(share=0.2, shrink=2, sigma=1e-3, photometric=0.0, rate=(1.0, 1.0), rigid=True),
    Stage(share=0.25, shrink=2, sigma=1e-3, photometric=0.0, rate=(1.0, 1.0)),
    Stage(share=0.55, shrink=1, sigma=3e-5, photometric=10.0, rate=(1.0, 0.03)),
)


class Track(NamedTuple):
    """A descent, step by step, from the start to the result.

    Attributes:
      parameters: Parameters with axes (steps + 1, B, ...).
      loss: (steps, B), before each step.
    """

    parameters: Parameters[np.ndarray]
    loss: np.ndarray


def full_pose(hand: HandModel, parameters: Parameters[jax.Array]) -> jax.Array:
    """Axis-angle (..., 16, 3) of Parameters, radians; the wrist's row is zero."""
    fingers = hand.finger_pose(parameters.pose)
    return jnp.concatenate([jnp.zeros_like(fingers[..., :1, :]), fingers], axis=-2)


@jax.jit
def fitted_vertices(hand: HandModel, parameters: Parameters[jax.Array]) -> jax.Array:
    """Vertices (..., V, 3) of Parameters in the world, m."""
    posed = hand.with_shape(parameters.betas).with_pose(full_pose(hand, parameters))
    return posed.moved(rotation_matrix(parameters.rotation), parameters.translation).vertices


def loss(
    parameters: Parameters[jax.Array],
    hand: HandModel,
    colors: jax.Array,
    rig: Rig,
    observation: Observation,
    stage: Stage,
) -> jax.Array:
    """How far renderings are from what was observed, and poses and shapes from likely ones.

    Args:
      parameters: Parameters of B hands.
      hand: a mano_jax.HandModel.
      colors: (V, 3) of its texture.
      rig: the Rig.
      observation: the Observation.
      stage: the Stage: its softness and its weight of the picture; static.

    Returns:
      (B,).
    """
    _, height, width = observation.masks.shape
    image_size = height, width
    vertices_cam, K = rig.seen(fitted_vertices(hand, parameters), parameters.focal)
    coverage = render.silhouette(vertices_cam, hand.faces, K, image_size, stage.sigma)
    outlines = _distance(coverage - observation.masks).mean(axis=-1)
    appearance: jax.Array | float = 0.0
    if stage.photometric:
        picture, mask, _ = render.render_mesh(
            vertices_cam[:, 0], hand.faces, colors, K[:, 0], image_size, LIGHT
        )
        # The silhouettes answer for outlines, the picture for what lies within both.
        both = mask & (observation.masks[0] == 1.0)
        difference = jnp.where(both[..., None], picture - observation.picture, 0.0)
        appearance = _distance(jnp.moveaxis(difference, -1, -3)).mean(axis=-1)
    pose = full_pose(hand, parameters)
    beyond = jax.nn.relu(pose - POSE_HIGH) + jax.nn.relu(POSE_LOW - pose)
    return (
        (outlines + stage.photometric * appearance) / jnp.mean(observation.masks)
        + jnp.sum(beyond[..., 1:, :] ** 2, axis=(-1, -2))
        + 1e-3 * jnp.mean(parameters.betas**2, axis=-1)
    )


def descend(
    hand: HandModel,
    colors: jax.Array,
    rig: Rig,
    observation: Observation,
    starts: Parameters[jax.Array],
    steps: int = 200,
    stages: Sequence[Stage] = STAGES,
    report: Callable[[np.ndarray], object] | None = None,
) -> Track:
    """Fits hands to an observation, from many starts at once.

    Args:
      hand: a mano_jax.HandModel.
      colors: (V, 3) of its texture.
      rig: the Rig.
      observation: the Observation.
      starts: Parameters of B hands.
      steps: of Adam, in all.
      stages: the Stages, in order.
      report: called after each step with the losses (B,), or None.

    Returns:
      the Track.
    """
    parameters, moments = starts, _ADAM.init(starts)
    track, losses = [jax.device_get(starts)], []
    ends = np.round(np.cumsum([stage.share for stage in stages]) * steps).astype(int)
    for stage, count in zip(stages, np.diff(ends, prepend=0)):
        given = (hand, colors, rig.shrunk(stage.shrink), observation.shrunk(stage.shrink))
        for rate in np.geomspace(*stage.rate, count):
            rates = Parameters(*(float(rate * r) for r in RATES))
            if stage.rigid:
                rates = rates._replace(focal=0.0, pose=0.0, betas=0.0)
            parameters, moments, values = _step(
                parameters, moments, rates, *given, stage=_compiled(stage)
            )
            track.append(jax.device_get(parameters))
            losses.append(np.asarray(values))
            if report:
                report(losses[-1])
    return Track(jax.tree.map(lambda *x: np.stack(x), *track), np.stack(losses))


@partial(jax.jit, static_argnames="stage")
def _step(
    parameters: Parameters[jax.Array],
    moments: optax.OptState,
    rates: Parameters[float],
    *given: *tuple[HandModel, jax.Array, Rig, Observation],
    stage: Stage,
) -> tuple[Parameters[jax.Array], optax.OptState, jax.Array]:
    def total(parameters: Parameters[jax.Array]) -> tuple[jax.Array, jax.Array]:
        values = loss(parameters, *given, stage)
        return values.sum(), values

    gradient, values = jax.grad(total, has_aux=True)(parameters)
    updates, moments = _ADAM.update(gradient, moments)
    return jax.tree.map(lambda p, u, r: p - r * u, parameters, updates, rates), moments, values


def _compiled(stage: Stage) -> Stage:
    """The Stage with all that a compiled step does not read made equal: one for each that differs."""
    return dataclasses.replace(stage, share=0.0, shrink=1, rate=(0.0, 0.0), rigid=False)


def _distance(difference: jax.Array) -> jax.Array:
    """Mean squared difference (...) of images (..., H, W), summed over resolutions."""
    total = jnp.mean(difference**2, axis=(-1, -2))
    while difference.shape[-1] > _COARSEST:
        difference = pool(difference, 2)
        total += jnp.mean(difference**2, axis=(-1, -2))
    return total
