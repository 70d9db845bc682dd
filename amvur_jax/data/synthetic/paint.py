"""Draws the frames of a synthetic sequence: mesh, textures, light, lens."""

from collections.abc import Callable
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax.data.synthetic.scene import IMAGE_SIZE, NUM_SOLIDS, Sequence
from amvur_jax.data.synthetic.skin import (
    forearm_vertices,
    hand_and_arm,
    nail_weight,
    vertex_colors,
)
from amvur_jax.data.synthetic.solids import NUM_VERTICES
from mano_jax import HandModel
from render import PointLight, fragments_at, interpolate, rasterize, shade

# Each pixel is the mean of SAMPLES x SAMPLES.
SAMPLES = 2
_FINE = (IMAGE_SIZE[0] * SAMPLES, IMAGE_SIZE[1] * SAMPLES)
_LEAST_SAMPLES = 1 << 16
_SKIN = 0
_NAIL_COLOR = (0.95, 0.76, 0.73)
# Writes a frame: image, depth and hand as of Painter.frame (the image in uint8), and a generator.
WriteFrame = Callable[[np.ndarray, np.ndarray, np.ndarray, np.random.Generator], None]


class Painter:
    """Draws sequences of one hand model.

    Args:
      hand: a mano_jax.HandModel with an open wrist.
    """

    def __init__(self, hand: HandModel) -> None:
        self.hand, self._surface = hand, hand_and_arm(hand)
        hand_vertices, arm_vertices = self._surface.num_hand, self._surface.num_arm
        self._solid_starts = hand_vertices + arm_vertices + NUM_VERTICES * np.arange(NUM_SOLIDS)
        self._material = np.repeat(
            np.arange(2 + NUM_SOLIDS),
            [hand_vertices, arm_vertices] + [NUM_VERTICES] * NUM_SOLIDS,
        )
        nails = self._surface.nails
        self._nails = tuple(jnp.asarray(a) for a in (nails.centres, nails.axes, nails.radii))

    def sequence(self, sequence: Sequence) -> tuple[jax.Array, jax.Array, dict[str, Any]]:
        """What all frames of a sequence share, ready for `frame`."""
        faces = [self._surface.faces]
        faces += [o.solid.faces + s for o, s in zip(sequence.objects, self._solid_starts)]
        num_arm, loop = self._surface.num_arm, self._surface.loop
        skin = vertex_colors(self._surface.skin, sequence.tone)
        arm = np.tile(sequence.sleeve_color, (num_arm, 1))
        if not sequence.sleeve:
            # A bare arm goes on in the wrist's own colours.
            rings = num_arm // len(loop)
            arm = np.tile(skin[loop], (rings, 1))
        solid_colors = [np.tile(o.colors[0], (NUM_VERTICES, 1)) for o in sequence.objects]
        rest = np.asarray(self.hand.v_template)
        places = [rest, np.zeros((num_arm, 3))] + [o.solid.vertices for o in sequence.objects]
        attributes = np.concatenate(
            [
                np.concatenate([skin, arm, *solid_colors]),
                np.concatenate(places),
                self._material[:, None],
            ],
            axis=-1,
        )
        position, ambient, diffuse, specular, tint = sequence.light
        looks = {
            "second": np.stack(
                [sequence.tone, sequence.sleeve_color * 0.8]
                + [o.colors[1] for o in sequence.objects]
            ),
            "pattern": np.stack([np.eye(4)[0]] * 2 + [o.pattern for o in sequence.objects]),
            "period": np.array([1.0, 1.0] + [o.period for o in sequence.objects]),
            "gloss": np.array([1.0, 0.2] + [1.5] * NUM_SOLIDS),
            "tint": tint,
            "light": PointLight(
                position,  # type: ignore[arg-type]  # of numpy as yet
                ambient,
                diffuse,
                specular,
                24.0,
            ),
        }
        looks = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), looks)
        return (
            jnp.asarray(np.concatenate(faces), jnp.int32),
            jnp.asarray(attributes, jnp.float32),
            looks,
        )

    def vertices(self, sequence: Sequence, i: int) -> np.ndarray:
        """All vertices of frame i, camera frame, m."""
        hand = sequence.vertices_cam[i]
        palm = sequence.joints16_cam[i, [1, 4, 7, 10]].mean(axis=0)
        axis = sequence.joints16_cam[i, 0] - palm
        axis /= np.linalg.norm(axis)
        arm = forearm_vertices(hand[self._surface.loop], axis, sleeve=sequence.sleeve)
        return np.concatenate([hand, arm, *(o.vertices_cam[i] for o in sequence.objects)])

    def frame(
        self,
        shared: tuple[jax.Array, jax.Array, dict[str, Any]],
        vertices: np.ndarray | jax.Array,
        K: np.ndarray,
        background: np.ndarray,
        background_depth: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws one frame.

        Args:
          shared: of `sequence`.
          vertices: (V, 3) of `vertices`.
          K: (3, 3) px.
          background: (480, 640, 3) in [0, 1].
          background_depth: (480, 640) m.

        Returns:
          image (480, 640, 3) in [0, 1], depth (480, 640) m, hand (480, 640) share of each pixel
          that shows the hand.
        """
        vertices, K = jnp.asarray(vertices, jnp.float32), np.array(K, np.float32)
        K[:2] *= SAMPLES
        faces, attributes, looks = shared
        pix_to_face = np.asarray(_select(vertices, faces, K)).ravel()
        # Only covered samples are shaded; their number is rounded up, so that few are compiled.
        covered = np.flatnonzero(pix_to_face >= 0)
        capacity = max(_LEAST_SAMPLES, 1 << (len(covered) - 1).bit_length())
        sample = np.full(capacity, pix_to_face.size, np.int32)
        sample[: len(covered)] = covered
        face = np.full(capacity, -1, np.int32)
        face[: len(covered)] = pix_to_face[covered]
        values = _shade(vertices, faces, attributes, looks, self._nails, K, face, sample)
        drawn = np.asarray(_collect(values, sample))
        alpha = drawn[..., 3]
        image = background * (1 - alpha[..., None]) + drawn[..., :3]
        near = drawn[..., 4] / np.maximum(alpha, 1e-6)
        return image, np.where(alpha >= 0.5, near, background_depth), drawn[..., 5]


def lens(rng: np.random.Generator, image: np.ndarray, blur: float, noise: float) -> np.ndarray:
    """The camera's own part: a soft lens and noise.

    Args:
      rng: numpy Generator.
      image: (H, W, 3) in [0, 1].
      blur: standard deviation, px.
      noise: standard deviation, of 255.

    Returns:
      (H, W, 3) uint8.
    """
    soft = cv2.GaussianBlur(np.asarray(image, np.float32), (0, 0), blur)
    grain = rng.standard_normal(soft.shape, dtype=np.float32) * noise
    return np.clip(soft * 255 + grain + 0.5, 0, 255).astype(np.uint8)


@jax.jit
def _select(vertices: jax.Array, faces: jax.Array, K: jax.Array) -> jax.Array:
    return rasterize(vertices, faces, K, _FINE).pix_to_face[..., 0]


@jax.jit
def _shade(
    vertices: jax.Array,
    faces: jax.Array,
    attributes: jax.Array,
    looks: dict[str, Any],
    nails: tuple[jax.Array, jax.Array, jax.Array],
    K: jax.Array,
    face: jax.Array,
    sample: jax.Array,
) -> list[jax.Array]:
    """Per sample: colour (3), coverage, depth, whether it is the hand."""
    row, column = sample // _FINE[1], sample % _FINE[1]
    fragments = fragments_at(
        vertices, faces, K, _FINE, face[None], (column + 0.5)[None], (row + 0.5)[None]
    )
    seen = interpolate(fragments, faces, attributes)[0, :, 0]
    albedo = [seen[..., k] for k in range(3)]
    place = [seen[..., k] for k in range(3, 6)]
    material = jnp.round(seen[..., 6]).astype(jnp.int32)
    skin = material == _SKIN

    grain = _cloud(place, 0.004) * 0.6 + _cloud(place, 0.015)
    nail = jnp.where(skin, nail_weight(place, nails), 0.0)
    period = looks["period"][material]
    pattern = looks["pattern"][material]
    second = looks["second"][material]
    waves = [jnp.sin(2 * jnp.pi * p / period) for p in place]
    amount = (
        pattern[..., 1] * (waves[2] > 0)
        + pattern[..., 2] * (waves[0] * waves[1] * waves[2] > 0)
        + pattern[..., 3] * jnp.clip(0.5 + 0.5 * _cloud([p / period for p in place], 0.5), 0, 1)
    )
    for k in range(3):
        flesh = albedo[k] * (1 + 0.035 * grain)
        flesh = flesh + 0.3 * nail * (_NAIL_COLOR[k] - flesh)
        thing = albedo[k] + (second[..., k] - albedo[k]) * amount
        albedo[k] = jnp.where(skin, flesh, thing)

    # One channel that the light scales and one that only the highlight reaches.
    bare = jnp.stack([jnp.ones(len(vertices)), jnp.zeros(len(vertices))], axis=-1)
    lit = shade(fragments, vertices, faces, bare, looks["light"])[0, :, 0]
    gloss = lit[..., 1] * looks["gloss"][material] * (1 + 2 * nail)
    strength = lit[..., 0] - lit[..., 1]
    color = [jnp.clip((a * strength + gloss) * t, 0, 1) for a, t in zip(albedo, looks["tint"])]
    return [*color, jnp.ones(len(sample)), fragments.zbuf[0, :, 0], skin * 1.0]


@jax.jit
def _collect(values: list[jax.Array], sample: jax.Array) -> jax.Array:
    """The samples' values as an image, (H, W, len(values)), each pixel the mean of its samples."""
    # Not compiled together with the shading: XLA would shade anew for every channel.
    row, column = sample // _FINE[1], sample % _FINE[1]
    height, width = IMAGE_SIZE
    pixel = row // SAMPLES * width + column // SAMPLES
    image = jnp.zeros((height * width, len(values)))
    image = image.at[pixel].add(jnp.stack(values, axis=-1) / SAMPLES**2, mode="drop")
    return image.reshape(height, width, len(values))


def _cloud(place: list[jax.Array], period: float) -> jax.Array:
    """Cheap noise in space that stays on the surface: a few plane waves, in about [-1, 1]."""
    # Directions and wave lengths are mixed: few waves of one length would weave a cloth.
    rng = np.random.default_rng(7)
    waves = rng.normal(size=(7, 3)) * rng.uniform(0.4, 1.6, (7, 1)) * (5 / period)
    total: jax.Array | float = 0.0
    for (x, y, z), phase in zip(waves, rng.uniform(0, 2 * np.pi, 7)):
        total = total + jnp.sin(x * place[0] + y * place[1] + z * place[2] + phase)
    return total / 3.5  # type: ignore[return-value]  # no number by now
