"""Cameras and pixels: the only place that knows axes, pixel centres and normalised units.

Camera frame: OpenCV (x right, y down, z forward), metres. Pixel (row i, column j) has its centre
at (x, y) = (j + 0.5, i + 0.5), so an image of W x H pixels spans [0, W] x [0, H].
"""

import jax
import jax.numpy as jnp

NEAR = 1e-8  # metres; a face with a vertex at or before this depth is not drawn


def pixel_centres(image_size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Pixel centres of an image.

    Args:
      image_size: (H, W).

    Returns:
      x (W,) of the columns and y (H,) of the rows, px.
    """
    height, width = image_size
    return jnp.arange(width) + 0.5, jnp.arange(height) + 0.5


def ndc_per_pixel(image_size: tuple[int, int]) -> float:
    """Size of a pixel in normalised device units, where the shorter side spans [-1, 1]."""
    return 2.0 / min(image_size)


def project(points_cam: jax.Array, K: jax.Array) -> jax.Array:
    """Projects points to pixels; points at or behind the camera plane give finite rubbish.

    Args:
      points_cam: (..., N, 3) camera frame, m.
      K: (..., 3, 3) intrinsics, px.

    Returns:
      (..., N, 2) px; a point counts only where its depth exceeds NEAR.
    """
    depth = points_cam[..., 2]
    safe_depth = jnp.where(depth > NEAR, depth, 1.0)
    rays = points_cam / safe_depth[..., None]
    # Full float32: an accelerator's default precision is off by tenths of a pixel.
    return jnp.einsum(
        "...ij,...nj->...ni", K[..., :2, :], rays, precision=jax.lax.Precision.HIGHEST
    )


def pixel_rays(K: jax.Array) -> jax.Array:
    """The affine functions that take a pixel (x, y) to its ray (X/z, Y/z): the inverse of `project`.

    Args:
      K: (..., 3, 3) intrinsics, px; the last row is not used.

    Returns:
      (..., 2, 3): for X/z and for Y/z what x, y and 1 are multiplied by.
    """
    a, b, c, d = K[..., 0, 0], K[..., 0, 1], K[..., 1, 0], K[..., 1, 1]
    x, y = K[..., 0, 2], K[..., 1, 2]
    inverse = jnp.stack([d, -b, b * y - d * x, -c, a, c * x - a * y], axis=-1)
    inverse = inverse / (a * d - b * c)[..., None]
    return inverse.reshape(*K.shape[:-2], 2, 3)


def weak_perspective_camera(
    camera: jax.Array, image_size: tuple[int, int], focal: float = 1000.0
) -> tuple[jax.Array, jax.Array]:
    """The perspective camera that stands for a weak-perspective one (scale, x, y).

    The mesh is moved to depth 2 f / (S |scale| + 1e-9), S the shorter side of the image, where one
    unit of the weak camera's image plane, [-1, 1] over S, is about one unit of this one's.

    Args:
      camera: (..., 3) scale (1/m), x and y (m).
      image_size: (H, W).
      focal: focal length, px.

    Returns:
      K (..., 3, 3) px and the translation (..., 3) m to add to the vertices.
    """
    height, width = image_size
    one = jnp.ones_like(camera[..., 0])
    zero = jnp.zeros_like(one)
    K = jnp.stack(
        [focal * one, zero, width / 2 * one, zero, focal * one, height / 2 * one, zero, zero, one],
        axis=-1,
    ).reshape(*camera.shape[:-1], 3, 3)
    depth = 2.0 * focal / (min(image_size) * jnp.abs(camera[..., 0]) + 1e-9)
    return K, jnp.stack([camera[..., 1], camera[..., 2], depth], axis=-1)
