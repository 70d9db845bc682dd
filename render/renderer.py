"""A mesh to an image in one call."""

import functools

import jax
import jax.numpy as jnp

from render.fragments import Fragments
from render.rasterize import rasterize
from render.shade import PointLight, shade

DEFAULT_LIGHT = PointLight()


@functools.partial(jax.jit, static_argnames="image_size")
def render_mesh(
    vertices_cam: jax.Array,
    faces: jax.Array,
    colors: jax.Array,
    K: jax.Array,
    image_size: tuple[int, int],
    light: PointLight | None = DEFAULT_LIGHT,
    background: jax.Array | float = 1.0,
) -> tuple[jax.Array, jax.Array, Fragments]:
    """Renders a mesh with per-vertex colours.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      colors: (..., V, C).
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.
      light: a PointLight (default: the published one), or None for the colours as they are.
      background: colour where nothing is drawn: a number, (C,), or (..., H, W, C).

    Returns:
      image (..., H, W, C), mask (..., H, W) bool, and the Fragments.
    """
    fragments = rasterize(vertices_cam, faces, K, image_size)
    mask = fragments.mask[..., 0]
    shaded = shade(fragments, vertices_cam, faces, colors, light)[..., 0, :]
    return jnp.where(mask[..., None], shaded, background), mask, fragments
