"""What the skin of a synthetic hand looks like, and the forearm it ends in."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from mano_jax import HandModel
from mano_jax.topology import FINGERS, FINGERTIPS
from render import vertex_normals

# sRGB, from light to dark; a person's tone lies between two neighbours.
TONES = np.array(
    [
        [0.95, 0.80, 0.71],
        [0.88, 0.70, 0.58],
        [0.78, 0.58, 0.45],
        [0.64, 0.45, 0.33],
        [0.47, 0.32, 0.23],
        [0.32, 0.21, 0.16],
    ]
)
# Joints in MANO's order of the fingers thumb, index, middle, ring, pinky: the last of each.
_LAST_JOINT = dict(zip(FINGERS, (15, 3, 6, 12, 9)))
RINGS = 6


def sample_tone(rng: np.random.Generator) -> np.ndarray:
    """A skin colour, (3,) sRGB."""
    position = rng.uniform(0, len(TONES) - 1)
    tone = np.array([np.interp(position, np.arange(len(TONES)), channel) for channel in TONES.T])
    return np.clip(tone * rng.normal(1.0, 0.03, 3), 0.05, 1.0)


class SkinMap(NamedTuple):
    """How much of what colours the skin there is at each vertex of a hand: (V, 1) each, in [0, 1]."""

    palm: np.ndarray
    knuckle: np.ndarray
    tip: np.ndarray


def skin_map(hand: HandModel) -> SkinMap:
    """The SkinMap of a hand: its palm, the backs of its knuckles, its fingertips."""
    vertices = np.asarray(hand.v_template)
    joints = np.asarray(hand.joint_regressor) @ vertices
    normals = np.asarray(vertex_normals(hand.v_template, hand.faces))
    # MANO's palm looks to -y.
    palm = 1 / (1 + np.exp(6 * normals[:, 1] - 0.5))
    distance = np.linalg.norm(vertices[:, None] - joints[None, 1:], axis=-1).min(axis=1)
    knuckle = np.exp(-((distance / 0.011) ** 2)) * (1 - palm)
    tips = vertices[list(FINGERTIPS["ho3d"])]
    reach = np.linalg.norm(vertices[:, None] - tips[None], axis=-1).min(axis=1)
    return SkinMap(palm[:, None], knuckle[:, None], np.exp(-((reach / 0.014) ** 2))[:, None])


def vertex_colors(skin: SkinMap, tone: np.ndarray) -> np.ndarray:
    """Colours of a hand's vertices: a light palm, red knuckles and fingertips.

    Args:
      skin: of `skin_map`.
      tone: (3,) sRGB.

    Returns:
      (V, 3) float32.
    """
    darkness = 1 - tone.mean()
    lighter = tone + (np.array([0.96, 0.78, 0.70]) - tone) * (0.25 + 0.5 * darkness)
    colors = tone + skin.palm * 0.8 * (lighter - tone)
    colors *= 1 - skin.knuckle * np.array([0.07, 0.16, 0.16])
    colors *= 1 - skin.tip * np.array([-0.02, 0.10, 0.10])
    return np.clip(colors, 0, 1).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Nails:
    """Five flat ellipses on the rest hand; rows of `axes` are along, across and out of a nail."""

    centres: np.ndarray  # (5, 3) m
    axes: np.ndarray  # (5, 3, 3)
    radii: np.ndarray  # (5, 3) m, how far along, across and deep


def find_nails(hand: HandModel) -> Nails:
    """Nails of a hand at rest, from its last joints and fingertips.

    Args:
      hand: a mano_jax.HandModel.

    Returns:
      the Nails, in the frame of hand.v_template.
    """
    vertices = np.asarray(hand.v_template)
    joints = np.asarray(hand.joint_regressor) @ vertices
    centres, axes, radii = [], [], []
    for finger, tip in zip(FINGERS, FINGERTIPS["ho3d"]):
        joint = joints[_LAST_JOINT[finger]]
        length = np.linalg.norm(vertices[tip] - joint)
        along = (vertices[tip] - joint) / length
        # Last joints bend about +z, away from the nail.
        out = np.cross(along, [0.0, 0.0, 1.0])
        out /= np.linalg.norm(out)
        near = np.abs((vertices - joint) @ along - 0.62 * length) < 0.25 * length
        near &= np.linalg.norm(vertices - joint, axis=1) < 1.5 * length
        top = ((vertices - joint) @ out)[near].max()
        across = np.cross(out, along)
        width = np.ptp(((vertices - joint) @ across)[near]) / 2
        centres.append(joint + 0.66 * length * along + top * out)
        axes.append(np.stack([along, across, out]))
        radii.append([0.30 * length, 0.72 * width, 0.45 * top])
    return Nails(*(np.array(a, np.float32) for a in (centres, axes, radii)))


def nail_weight(
    rest: Sequence[np.ndarray | jax.Array], nails: Sequence[np.ndarray | jax.Array]
) -> jax.Array:
    """How much of a nail there is at points of the rest surface.

    Args:
      rest: three (...) coordinates, m.
      nails: centres, axes and radii of the Nails.

    Returns:
      (...) in [0, 1].
    """
    weight = 0.0
    for centre, axes, radii in zip(*nails):
        offset = [rest[i] - centre[i] for i in range(3)]
        along, across, out = (sum(axis[i] * offset[i] for i in range(3)) for axis in axes)
        # A nail is squarer than an ellipse.
        inside = 1 - (along / radii[0]) ** 4 - (across / radii[1]) ** 4
        weight = weight + jnp.clip(4 * inside, 0, 1) * (jnp.abs(out) < radii[2])
    return jnp.minimum(weight, 1.0)


def wrist_loop(faces: ArrayLike) -> np.ndarray:
    """The open edge of a hand mesh, in order.

    Args:
      faces: (F, 3) int.

    Returns:
      (L,) int, vertices around the wrist, along the direction of the faces' own edges.

    Raises:
      ValueError: if the mesh has no single open edge.
    """
    faces = np.asarray(faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    there = {(int(a), int(b)) for a, b in edges}
    following = {a: b for a, b in there if (b, a) not in there}
    loop = [min(following)] if following else []
    while loop and following[loop[-1]] != loop[0] and len(loop) <= len(following):
        loop.append(following[loop[-1]])
    if len(loop) < 3 or len(loop) != len(following):
        raise ValueError("the mesh has no single open edge at the wrist")
    return np.array(loop)


@dataclasses.dataclass(frozen=True)
class HandAndArm:
    """The mesh of a hand and its forearm, and what colours its skin.

    Attributes:
      loop: (L,) vertices of the wrist's open edge.
      num_hand, num_arm: vertices of each; the arm's come after the hand's.
      faces: (F, 3) int.
      skin: the SkinMap; nails: the Nails.
    """

    loop: np.ndarray
    num_hand: int
    num_arm: int
    faces: np.ndarray
    skin: SkinMap
    nails: Nails


def hand_and_arm(hand: HandModel) -> HandAndArm:
    """The HandAndArm of a hand model with an open wrist."""
    loop, count = wrist_loop(hand.faces), hand.v_template.shape[0]
    arm = forearm_faces(loop, count)
    return HandAndArm(
        loop=loop,
        num_hand=count,
        num_arm=int(arm.max()) + 1 - count,
        faces=np.concatenate([np.asarray(hand.faces), arm]),
        skin=skin_map(hand),
        nails=find_nails(hand),
    )


def forearm_faces(loop: np.ndarray, num_vertices: int) -> np.ndarray:
    """Faces of a tube from the wrist's open edge; ring r's vertex i is num_vertices + r L + i."""
    count = len(loop)
    rings = np.concatenate([[loop], num_vertices + np.arange(RINGS * count).reshape(RINGS, count)])
    a, b = rings[:-1], rings[1:]
    c, d = np.roll(b, -1, axis=1), np.roll(a, -1, axis=1)
    faces = np.stack([np.stack([a, b, c], axis=-1), np.stack([a, c, d], axis=-1)])
    return faces.reshape(-1, 3).astype(np.int32)


def forearm_vertices(
    wrist_vertices: np.ndarray,
    axis: np.ndarray,
    length: float = 0.42,
    swell: float = 1.6,
    sleeve: float | np.ndarray = 0.0,
) -> np.ndarray:
    """Rings of the forearm, for a batch of posed hands.

    Args:
      wrist_vertices: (..., L, 3) the wrist's open edge, m.
      axis: (..., 3) unit vector from the hand along the arm.
      length: of the forearm, m.
      swell: how much wider its far end is.
      sleeve: thickness of the cloth on it, relative to the wrist's radius; a number or (..., 1, 1).

    Returns:
      (..., RINGS * L, 3).
    """
    centre = wrist_vertices.mean(axis=-2, keepdims=True)
    offset = wrist_vertices - centre
    # The edge is ragged: the arm is drawn from its shadow across the axis.
    flat = offset - (offset @ axis[..., None]) * axis[..., None, :]
    steps = (np.arange(1, RINGS + 1) / RINGS) ** 1.5
    rings = []
    for k, step in enumerate(steps):
        wide = 1 + (swell - 1) * step + sleeve
        along = length * step if k else 0.012
        rings.append(centre + flat * wide + axis[..., None, :] * along)
    return np.concatenate(rings, axis=-2)
