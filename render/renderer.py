"""A mesh to an image in one call: hard, soft, its silhouette, its depth and its normals."""

import functools

import jax
import jax.numpy as jnp

from render.blend import blur_radius
from render.fragments import Fragments
from render.layers import blend_layers
from render.rasterize import rasterize
from render.shade import PointLight, interpolate, shade_faces, vertex_normals
from render.soft import SoftOptions, select_soft_faces, soft_fragments
from render.triangles import screen_corners

DEFAULT_LIGHT = PointLight()


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

    Raises:
      ValueError: as of `rasterize`.
    """
    # A number is what the image starts with; anything else is added, at the cost of a pass over it.
    fill = float(background) if isinstance(background, int | float) else None
    return _render_mesh(vertices_cam, faces, colors, K, image_size, light, background, fill)


@functools.partial(jax.jit, static_argnames=("image_size", "fill"))
def _render_mesh(
    vertices_cam: jax.Array,
    faces: jax.Array,
    colors: jax.Array,
    K: jax.Array,
    image_size: tuple[int, int],
    light: PointLight | None,
    background: jax.Array | float,
    fill: float | None,
) -> tuple[jax.Array, jax.Array, Fragments]:
    fragments = rasterize(vertices_cam, faces, K, image_size)
    mask = fragments.mask[..., 0]
    image = shade_faces(fragments.pix_to_face, vertices_cam, faces, colors, K, light, fill or 0.0)[
        ..., 0, :
    ]
    if fill is None:
        image = image + jnp.where(mask[..., None], 0.0, background)
    return image, mask, fragments


@functools.partial(
    jax.jit, static_argnames=("image_size", "sigma", "gamma", "faces_per_pixel", "znear", "zfar")
)
def render_soft(
    vertices_cam: jax.Array,
    faces: jax.Array,
    colors: jax.Array,
    K: jax.Array,
    image_size: tuple[int, int],
    light: PointLight | None = DEFAULT_LIGHT,
    background: jax.Array | float = 1.0,
    sigma: float = 1e-4,
    gamma: float = 1e-4,
    faces_per_pixel: int = 8,
    znear: float = 0.1,
    zfar: float = 10.0,
) -> tuple[jax.Array, jax.Array, Fragments]:
    """Renders a mesh softly: outlines and occlusions have a gradient too (SoftRas).

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      colors: (..., V, C).
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.
      light: a PointLight, or None for the colours as they are.
      background: colour where nothing is drawn: a number, (C,), or (..., H, W, C).
      sigma: softness of outlines, squared normalised units.
      gamma: softness over depth.
      faces_per_pixel: how many faces each pixel keeps.
      znear, zfar: depths that the softness over depth refers to, m.

    Returns:
      image (..., H, W, C), alpha (..., H, W) in [0, 1], and the Fragments.

    Raises:
      ValueError: as of `rasterize_soft`.
    """
    options = SoftOptions(blur_radius=blur_radius(sigma))
    corners, batch = screen_corners(vertices_cam, faces, K)
    pix_to_face = select_soft_faces(
        jax.lax.stop_gradient(corners), image_size, faces_per_pixel, options
    )
    image, behind, alpha = blend_layers(
        pix_to_face,
        corners,
        batch,
        vertices_cam,
        faces,
        colors,
        light,
        options,
        sigma,
        gamma,
        znear,
        zfar,
    )
    # what nobody asks for is not computed
    fragments = soft_fragments(pix_to_face, corners, options)
    fragments = jax.tree.map(lambda a: a.reshape(batch + a.shape[1:]), fragments)
    return image + behind[..., None] * background, alpha, fragments


@functools.partial(jax.jit, static_argnames="image_size")
def depth_map(
    vertices_cam: jax.Array, faces: jax.Array, K: jax.Array, image_size: tuple[int, int]
) -> jax.Array:
    """Depth of the nearest surface.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.

    Returns:
      (..., H, W) along the camera's z, m; infinite where nothing is.

    Raises:
      ValueError: as of `rasterize`.
    """
    fragments = rasterize(vertices_cam, faces, K, image_size)
    return jnp.where(fragments.mask, fragments.zbuf, jnp.inf)[..., 0]


@functools.partial(jax.jit, static_argnames="image_size")
def normal_map(
    vertices_cam: jax.Array, faces: jax.Array, K: jax.Array, image_size: tuple[int, int]
) -> jax.Array:
    """Unit normals of the nearest surface, interpolated between those of the vertices.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.

    Returns:
      (..., H, W, 3) camera frame; 0 where nothing is.

    Raises:
      ValueError: as of `rasterize`.
    """
    fragments = rasterize(vertices_cam, faces, K, image_size)
    normals = interpolate(fragments, faces, vertex_normals(vertices_cam, faces))[..., 0, :]
    squared = jnp.sum(normals**2, axis=-1, keepdims=True)
    some = squared > 0
    return jnp.where(some, normals * jax.lax.rsqrt(jnp.where(some, squared, 1.0)), 0.0)
