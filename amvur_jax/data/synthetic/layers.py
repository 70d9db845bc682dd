"""Posed hands with their forearm and what they hold, with alpha, to be laid over other pictures.

Many at a time, on the device: amvur_jax.data.synthetic.stream makes its frames of them.
"""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax.data.synthetic.skin import (
    forearm_vertices,
    hand_and_arm,
    nail_weight,
    sample_tone,
    vertex_colors,
)
from amvur_jax.data.synthetic.solids import KINDS, make_solid
from mano_jax import HandModel
from mano_jax.limits import sample_wide_pose
from mano_jax.rotations import rotation_matrix, rotation_vector
from render import PointLight, rasterize, shade_faces

SIDE = 144  # of a layer, px
DRAWN = 2 * SIDE  # it is drawn in, for its edges
_TOGETHER = 32  # drawn in one call
_HELD, _SLEEVED, _GLOVED = 0.35, 0.5, 0.06
_SPAN = (58.0, 76.0)  # of the longer side of the joints' box in a layer, px
_FOCAL = (1.6, 6.0)  # in layers' sides: from a phone held near to a lens from afar
_NAIL_COLOR = np.array([0.95, 0.76, 0.73])


@dataclasses.dataclass(frozen=True)
class Layers:
    """N hands, each in the middle of a picture of its own. OpenCV camera frame, metres, K in px of a layer.

    Attributes:
      rgba: (N, SIDE, SIDE, 4) uint8, the colour multiplied with alpha.
      K: (N, 3, 3); pose: (N, 48); betas: (N, 10); trans, root_cam: (N, 3); joints_cam: (N, 21, 3): as of
        amvur_jax.data.frame.Frame, the fingertips HO-3D's.
    """

    rgba: np.ndarray
    K: np.ndarray
    pose: np.ndarray
    betas: np.ndarray
    trans: np.ndarray
    root_cam: np.ndarray
    joints_cam: np.ndarray

    def __len__(self) -> int:
        return len(self.rgba)


class LayerPainter:
    """Draws layers of one hand model.

    Args:
      hand: a mano_jax.HandModel with an open wrist.
    """

    def __init__(self, hand: HandModel) -> None:
        self.hand, self._surface = hand, hand_and_arm(hand)
        nails, rest = self._surface.nails, np.asarray(hand.v_template)
        places = [rest[:, k] for k in range(3)]
        weight = nail_weight(places, (nails.centres, nails.axes, nails.radii))
        self._nail = np.asarray(weight)[:, None]

    def draw(self, rng: np.random.Generator, count: int) -> Layers:
        """Draw `count` layers; what they are depends on the generator alone."""
        pose = sample_wide_pose(rng, count)
        pose[:, 0] = rotation_vector(jnp.asarray(_views(rng, count), jnp.float32))
        betas = np.clip(rng.normal(0.0, 0.9, (count, 10)), -2, 2).astype(np.float32)
        vertices, joints16, joints = (
            np.asarray(a, np.float64) for a in _posed(self.hand, pose, betas)
        )
        K, trans = _placed(rng, joints)
        vertices, joints16, joints = (x + trans[:, None] for x in (vertices, joints16, joints))
        mesh, faces, colors = self._scene(rng, vertices, joints16, pose)
        light = _light(rng, joints16[:, 0])
        rgba = [
            np.asarray(
                _draw(*jax.tree.map(lambda x, i=i: _part(x, i), (mesh, faces, colors, K, light)))
            )
            for i in range(0, count, _TOGETHER)
        ]
        return Layers(
            rgba=np.concatenate(rgba)[:count],
            K=K,
            pose=pose.reshape(count, 48),
            betas=betas,
            trans=trans,
            root_cam=joints16[:, 0],
            joints_cam=joints,
        )

    def _scene(
        self, rng: np.random.Generator, vertices: np.ndarray, joints16: np.ndarray, pose: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Vertices (N,V,3), faces (N,F,3) and colours (N,V,3) of hand, arm and solid."""
        count = len(vertices)
        palm = joints16[:, [1, 4, 7, 10]].mean(axis=1)
        axis = _unit(joints16[:, 0] - palm) + rng.normal(0.0, 0.35, (count, 3))
        sleeve = np.where(rng.random(count) < _SLEEVED, rng.uniform(0.06, 0.35, count), 0.0)
        arm = forearm_vertices(
            vertices[:, self._surface.loop], _unit(axis), sleeve=sleeve[:, None, None]
        )
        rotation = np.asarray(rotation_matrix(jnp.asarray(pose[:, 0])))
        held, own_faces, solid_colors = [], [], []
        start = self._surface.num_hand + self._surface.num_arm
        for i in range(count):
            size = rng.uniform(0.014, 0.04)
            kind = KINDS[rng.integers(len(KINDS))]
            half = size * (np.ones(3) if kind == "sphere" else rng.uniform(0.4, 1.6, 3))
            solid = make_solid(kind, half)
            turn = _random_rotations(rng, 1)[0]
            reach = np.array(
                [rng.uniform(-0.06, 0.01), -size - rng.uniform(0.005, 0.03), rng.normal(0, 0.02)]
            )
            place = palm[i] + rotation[i] @ reach
            away = 9.0 * (rng.random() >= _HELD)  # behind the camera nothing is drawn
            held.append(solid.vertices @ turn.T + place - [0, 0, away])
            own_faces.append(solid.faces + start)
            two = rng.uniform(0.03, 0.97, (2, 3))
            stripes = np.sin(solid.vertices @ rng.normal(0, 120, 3)) > rng.uniform(-1, 1.5)
            solid_colors.append(np.where(stripes[:, None], two[0], two[1]))
        faces = np.concatenate(
            [
                np.broadcast_to(self._surface.faces, (count, *self._surface.faces.shape)),
                np.stack(own_faces),
            ],
            axis=1,
        )
        skin = np.stack([self._skin(rng, bool(s > 0)) for s in sleeve])
        colors = np.concatenate([skin, np.stack(solid_colors)], axis=1)
        mesh = np.concatenate([vertices, arm, np.stack(held)], axis=1)
        return mesh, faces, colors

    def _skin(self, rng: np.random.Generator, sleeved: bool) -> np.ndarray:
        """Colours of one hand and its arm, (V, 3)."""
        tone = sample_tone(rng)
        if rng.random() < _GLOVED:
            tone = rng.uniform(0.05, 0.95, 3)
            skin = np.tile(tone, (self._surface.num_hand, 1))
        else:
            skin = vertex_colors(self._surface.skin, tone)
            polish = rng.uniform(0.1, 0.9, 3) if rng.random() < 0.1 else _NAIL_COLOR
            skin = skin + (0.35 if polish is _NAIL_COLOR else 0.9) * self._nail * (polish - skin)
        rest = np.asarray(self.hand.v_template)
        waves = np.sum(
            [np.sin(rest @ rng.normal(0, s, 3) + rng.uniform(0, 6.3)) for s in (60, 150, 400)],
            axis=0,
        )
        skin = skin * (1 + 0.03 * waves[:, None])
        num_arm, loop = self._surface.num_arm, self._surface.loop
        if sleeved:
            cloth = rng.uniform(0.03, 0.9, 3) * rng.uniform(0.4, 1.0)
            arm = np.tile(cloth, (num_arm, 1)) * rng.uniform(0.85, 1.1, (num_arm, 1))
        else:
            arm = np.tile(skin[loop], (num_arm // len(loop), 1))
        return np.concatenate([skin, arm])


@jax.jit
def _posed(
    hand: HandModel, pose: jax.Array, betas: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    posed = hand.with_shape(betas).with_pose(pose)
    return posed.vertices, posed.joints, posed.joints_21("ho3d")


def _placed(rng: np.random.Generator, joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cameras (N,3,3) and the hands' translations (N,3), so that each fills the middle of its layer."""
    count = len(joints)
    focal = SIDE * np.exp(rng.uniform(math.log(_FOCAL[0]), math.log(_FOCAL[1]), count))
    span = rng.uniform(*_SPAN, count)
    size = np.ptp(joints[..., :2], axis=1).max(axis=1)
    depth = focal * size / span
    # No fingertip comes nearer than half the distance.
    depth = np.maximum(depth, -2.0 * (joints[..., 2] - joints[:, :1, 2]).min(axis=1))
    middle = (joints.max(axis=1) + joints.min(axis=1)) / 2
    trans = np.concatenate([-middle[:, :2], (depth - joints[:, 0, 2])[:, None]], axis=1)
    K = np.zeros((count, 3, 3))
    K[:, 0, 0] = K[:, 1, 1] = focal
    K[:, :2, 2] = SIDE / 2
    K[:, 2, 2] = 1.0
    return K, trans


def _light(rng: np.random.Generator, at: np.ndarray) -> PointLight:
    """Lights about hands (N,3): soft and hard, from every side but from behind."""
    count = len(at)
    direction = _unit(rng.normal(size=(count, 3)) * [1.0, 1.0, 0.7] - [0.0, 0.35, 0.5])
    ambient = rng.uniform(0.2, 0.75, count)
    total = rng.uniform(0.75, 1.3, count)
    arrays = {
        "position_cam": at + direction * rng.uniform(0.4, 2.5, (count, 1)),
        "ambient": ambient,
        "diffuse": np.maximum(total - ambient, 0.1),
        "specular": rng.uniform(0.0, 0.15, count),
        "shininess": rng.uniform(8.0, 40.0, count),
    }
    return PointLight(**jax.tree.map(jnp.asarray, arrays))


def _part(x: np.ndarray, i: int) -> jax.Array:
    """Rows i to i + _TOGETHER, the last ones repeated where there are fewer."""
    rows = np.minimum(np.arange(i, i + _TOGETHER), len(x) - 1)
    dtype = jnp.int32 if np.issubdtype(x.dtype, np.integer) else jnp.float32
    return jnp.asarray(x[rows], dtype)


@jax.jit
def _draw(
    vertices: jax.Array, faces: jax.Array, colors: jax.Array, K: jax.Array, light: PointLight
) -> jax.Array:
    K = K.at[:, :2].multiply(DRAWN / SIDE)
    drawn = rasterize(vertices, faces, K, (DRAWN, DRAWN)).pix_to_face
    rgb = shade_faces(drawn, vertices, faces, colors, K, light)[..., 0, :]
    alpha = (drawn[..., 0] >= 0).astype(jnp.float32)[..., None]
    fine = jnp.concatenate([jnp.clip(rgb, 0, 1) * alpha, alpha], -1)
    n = len(vertices)
    mean = fine.reshape(n, SIDE, 2, SIDE, 2, 4).mean((2, 4))
    return jnp.round(mean * 255).astype(jnp.uint8)


def _views(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rotations (N,3,3) of hands: half of them any, half as hands are shown, palm or back to the camera."""
    any_, tilt = _random_rotations(rng, count), np.deg2rad(55) * np.sqrt(rng.random(count))
    # The palm (-y) looks to the camera (-z), the fingers (-x) point up (-y); or the back does.
    palm = np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]])
    shown = np.where(rng.random((count, 1, 1)) < 0.6, palm, palm * [[-1], [1], [-1]])
    angle = rng.uniform(0, 2 * np.pi, count)
    zero = np.zeros(count)
    tilted = np.stack([tilt * np.cos(angle), tilt * np.sin(angle), zero], axis=-1)
    turned = np.stack([zero, zero, rng.normal(0.0, np.deg2rad(35), count)], axis=-1)
    turned, tilted = (np.asarray(rotation_matrix(jnp.asarray(x))) for x in (turned, tilted))
    return np.where(rng.random((count, 1, 1)) < 0.5, any_, turned @ tilted @ shown)


def _random_rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count, 3, 3), uniform."""
    w, x, y, z = _unit(rng.normal(size=(count, 4))).T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(r, -1) for r in rows], axis=-2)


def _unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v, axis=-1, keepdims=True)
