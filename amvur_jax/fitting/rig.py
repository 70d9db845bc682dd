"""Cameras about a hand, and what they see of it.

The world's frame is MANO's: fingers along -x, thumb towards +z, the back of the hand towards +y,
the middle knuckle of the mean hand at the origin; metres.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

import render
from mano_jax.rotations import rotation_matrix

LIGHT = render.PointLight(position_cam=(-0.3, -0.3, 0.0), ambient=0.35, diffuse=0.65)
_MIDDLE = (0.02, 0.0, 0.0)  # of the hand in the world, m: where the cameras look
SAMPLES = 4  # each pixel of an observation is the mean of SAMPLES x SAMPLES


class Rig(NamedTuple):
    """Cameras about the hand, known but for the focal length that they share.

    Attributes:
      rotation: (N, 3, 3) world to camera.
      translation: (N, 3) world to camera, m.
      K: (3, 3) nominal intrinsics, px.
    """

    rotation: jax.Array
    translation: jax.Array
    K: jax.Array

    def shrunk(self, factor: int) -> "Rig":
        """The rig of pictures smaller by a factor."""
        return self._replace(K=jnp.diag(jnp.array([1 / factor, 1 / factor, 1.0])) @ self.K)

    def seen(self, vertices: jax.Array, focal: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Vertices before the cameras, and the cameras' intrinsics.

        Args:
          vertices: (..., V, 3) in the world, m.
          focal: (...) logarithm of the focal length over the nominal one.

        Returns:
          vertices_cam (..., N, V, 3) m, and K (..., 1, 3, 3) px.
        """
        turned = jnp.einsum("nij,...vj->...nvi", self.rotation, vertices, precision="highest")
        scale = jnp.exp(focal)[..., None, None]
        K = self.K.at[:2, :2].set(0.0) + self.K.at[:, 2].set(0.0) * scale
        return turned + self.translation[:, None], K[..., None, :, :]


class Observation(NamedTuple):
    """What is seen of the target.

    Attributes:
      masks: (N, H, W) share of each pixel that the hand covers, one a camera.
      picture: (H, W, 3) of the first camera, RGB in [0, 1], black where the hand is not.
    """

    masks: jax.Array
    picture: jax.Array

    def shrunk(self, factor: int) -> "Observation":
        """The observation in pictures smaller by a factor."""
        picture = pool(jnp.moveaxis(self.picture, -1, 0), factor)
        return Observation(pool(self.masks, factor), jnp.moveaxis(picture, 0, -1))


def make_rig(size: int, distance: float = 0.32) -> Rig:
    """Three cameras about the hand: before its back, beside it, and before its fingertips.

    Args:
      size: side of the square pictures, px.
      distance: of the cameras from the middle of the hand, m.

    Returns:
      the Rig.
    """
    # The hand's back to the camera, fingers up: x = -z, y = x, z = -y of the world.
    first = jnp.array([[0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    turns = rotation_matrix(jnp.array([[0.0, 0.0, 0.0], [0.0, 1.2, 0.0], [1.0, 0.0, 0.0]]))
    focal = 1.35 * size
    K = jnp.array([[focal, 0.0, size / 2], [0.0, focal, size / 2], [0.0, 0.0, 1.0]])
    rotation = turns @ first
    return Rig(rotation, jnp.array([0.0, 0.0, distance]) - rotation @ jnp.array(_MIDDLE), K)


def observe(
    rig: Rig, vertices: jax.Array, faces: jax.Array, colors: jax.Array, size: int
) -> Observation:
    """Takes the pictures of a hand, their outlines anti-aliased.

    Args:
      rig: the Rig.
      vertices: (V, 3) in the world, m.
      faces: (F, 3).
      colors: (V, 3) in [0, 1].
      size: side of the pictures, px.

    Returns:
      the Observation.
    """
    vertices_cam, K = rig.seen(vertices, jnp.zeros(()))
    K = jnp.diag(jnp.array([SAMPLES, SAMPLES, 1.0])) @ K
    fine = (size * SAMPLES,) * 2
    picture, mask, _ = render.render_mesh(
        vertices_cam, faces, colors, K, fine, light=LIGHT, background=0.0
    )
    return Observation(mask.astype(jnp.float32), picture[0]).shrunk(SAMPLES)


def pool(images: jax.Array, factor: int) -> jax.Array:
    """Means (..., H / factor, W / factor) over squares of images (..., H, W)."""
    *batch, height, width = images.shape
    blocks = images.reshape(*batch, height // factor, factor, width // factor, factor)
    return blocks.mean(axis=(-3, -1))
