"""The hard rasteriser: per pixel the nearest face that covers its centre.

Which face wins is found without gradients by walking (face, block) pairs in chunks and scattering
into a z-buffer; what the pixel sees of that face is then plain differentiable arithmetic.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from render.blocks import BLOCK, BLOCK_READ, SIDE, block_pairs, strip_grid, strip_rows, to_image
from render.camera import ndc_per_pixel
from render.covered import map_covered
from render.fragments import Fragments
from render.triangles import (
    bounding_box,
    drawable,
    edge_functions,
    edge_table,
    nearness,
    outline,
    outline_distance,
    planes,
    screen_corners,
)

# Depths this close are one depth: the lowest face index wins. A few steps of float32, so that both
# passes over the pairs, which XLA may round differently, agree on the winner.
TIE_STEPS = 3
CHUNK = 4096  # pairs; 64 pixels each, so that a chunk's arrays stay in the processor's cache


@functools.partial(jax.jit, static_argnames="image_size")
def rasterize(
    vertices_cam: jax.Array, faces: jax.Array, K: jax.Array, image_size: tuple[int, int]
) -> Fragments:
    """The nearest face of each pixel, with no back-face culling.

    A face that crosses or lies behind the camera plane, or is degenerate, is drawn nowhere. A pixel
    centre on an edge shared by two faces belongs to one of them; of equal depths (to float32's
    precision) the lowest face index wins. Gradients flow to the vertices and K through depth,
    barycentrics and distances, never through the choice of the face.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int vertex indices.
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.

    Returns:
      Fragments with one face per pixel.

    Raises:
      ValueError: if pixels, vertices or faces are more than an int32 can number.
    """
    corners, batch = screen_corners(vertices_cam, faces, K)
    pix_to_face = select_faces(lax.stop_gradient(corners), image_size)[..., None]
    fragments = fragments_of(corners, pix_to_face, image_size)
    return jax.tree.map(lambda a: a.reshape(batch + a.shape[1:]), fragments)


def fragments_at(
    vertices_cam: jax.Array,
    faces: jax.Array,
    K: jax.Array,
    image_size: tuple[int, int],
    pix_to_face: jax.Array,
    x: jax.Array,
    y: jax.Array,
) -> Fragments:
    """What chosen points of the image see of faces already known to cover them.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int vertex indices.
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.
      pix_to_face: (..., A, B) int, as of `rasterize` at those points; -1 where empty.
      x, y: (A, B) points, px.

    Returns:
      Fragments (..., A, B, 1).
    """
    corners, batch = screen_corners(vertices_cam, faces, K)
    images = corners.shape[0]
    pix_to_face = jnp.broadcast_to(pix_to_face, batch + pix_to_face.shape[-2:])
    flat = pix_to_face.reshape(images, *pix_to_face.shape[-2:], 1)
    x, y = (jnp.broadcast_to(p[..., None], flat.shape) for p in (x, y))
    fragments = fragments_of(corners, flat, image_size, (x, y))
    return jax.tree.map(lambda a: a.reshape(batch + a.shape[1:]), fragments)


def fragments_of(
    corners: jax.Array,
    pix_to_face: jax.Array,
    image_size: tuple[int, int],
    centres: tuple[jax.Array, jax.Array] | None = None,
) -> Fragments:
    """What pixels see of faces that cover their centres.

    Args:
      corners: (N, F, 9) of `screen_corners`.
      pix_to_face: (N, H, W, 1) int, -1 where empty.
      image_size: (H, W) of the whole image.
      centres: x and y (N, H, W, 1) px, where they are not the pixels' own.

    Returns:
      Fragments (N, H, W, 1).
    """
    weights = jnp.eye(3, dtype=corners.dtype) * nearness(corners[..., 2::3])[..., None]
    depth, barycentrics = map_covered(
        _perspective,
        pix_to_face,
        *planes(corners, weights, image_size),
        centres=centres,
        empty=((-1.0,), (-1.0,) * 3),
        spare=(1.0, 1.0, 1.0),
    )
    (dists,) = map_covered(
        functools.partial(_inside_distance, ndc_per_pixel(image_size)),
        pix_to_face,
        *outline(corners, image_size),
        centres=centres,
        empty=((-1.0,),),
    )
    return Fragments(
        pix_to_face=pix_to_face,
        zbuf=depth[..., 0],
        bary_coords=barycentrics,
        dists=dists[..., 0],
    )


def _perspective(
    values: Sequence[jax.Array], x: jax.Array, y: jax.Array, image_values: Sequence[jax.Array]
) -> list[jax.Array]:
    """Depth and barycentrics from b_i / z, which are affine on the screen."""
    depth = 1.0 / (values[0] + values[1] + values[2])
    return [depth, *(value * depth for value in values)]


def _inside_distance(
    unit: float,
    values: list[jax.Array],
    x: jax.Array,
    y: jax.Array,
    image_values: Sequence[jax.Array],
) -> list[jax.Array]:
    return [-outline_distance(values) * unit**2]


def select_faces(corners: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """Index of the nearest face that covers each pixel centre.

    Args:
      corners: (N, F, 9) of `screen_corners`.
      image_size: (H, W).

    Returns:
      (N, H, W) int32, -1 where no face is.
    """
    images, num_faces = corners.shape[:2]
    if not images:
        return jnp.zeros((0, *image_size), jnp.int32)
    across, rows = strip_grid(image_size)
    buffer = (strip_rows(images, image_size), SIDE)
    # One more, never drawn, face keeps every array non-empty.
    corners = jnp.pad(corners.astype(jnp.float32).reshape(-1, 9), ((0, 1), (0, 0)))
    drawn = drawable(corners)
    pairs = block_pairs(*bounding_box(corners), drawn, image_size)
    table = jnp.where(drawn[:, None], edge_table(corners), 0.0)
    offset = jnp.arange(SIDE) + 0.5
    none = corners.shape[0] - 1

    def seen(face: jax.Array, row: jax.Array, strip: jax.Array) -> tuple[jax.Array, jax.Array]:
        """First row in the buffer and inverse depth (as int32; 0 outside the face) of pairs."""
        coefficients = table.at[face].get(mode="promise_in_bounds")
        edges = edge_functions(
            coefficients,
            (strip[:, None] * SIDE + offset)[:, None, :],
            (row[:, None] + offset)[:, :, None],
        )
        inverse = [coefficients[:, 12 + k, None, None] for k in range(3)]
        area = edges[0] + edges[1] + edges[2]
        inside = (jnp.minimum(jnp.minimum(edges[0], edges[1]), edges[2]) >= 0) & (area > 0)
        weighted = edges[0] * inverse[0] + edges[1] * inverse[1] + edges[2] * inverse[2]
        near = jnp.where(inside, weighted / jnp.where(area > 0, area, 1.0), 0.0)
        image = jnp.minimum(face // max(num_faces, 1), images - 1)
        # Positive floats are in the order of their bits, and integers are compared faster.
        start = (image * across + strip) * rows + row
        return start, lax.bitcast_convert_type(near, jnp.int32)

    def nearest(face: jax.Array, row: jax.Array, strip: jax.Array, best: jax.Array) -> jax.Array:
        start, near = seen(face, row, strip)
        return lax.scatter_max(best, start[:, None], near, BLOCK, mode="promise_in_bounds")

    def lowest(face: jax.Array, row: jax.Array, strip: jax.Array, winner: jax.Array) -> jax.Array:
        start, near = seen(face, row, strip)
        most = lax.gather(best, start[:, None], BLOCK_READ, (SIDE, SIDE), mode="promise_in_bounds")
        wins = jnp.where((near > 0) & (near + TIE_STEPS >= most), face[:, None, None], none)
        return lax.scatter_min(winner, start[:, None], wins, BLOCK, mode="promise_in_bounds")

    best = pairs.walk(CHUNK, nearest, jnp.zeros(buffer, jnp.int32))
    winner = pairs.walk(CHUNK, lowest, jnp.full(buffer, none, jnp.int32))
    winner = to_image(winner, images, image_size)
    first = jnp.arange(images, dtype=jnp.int32)[:, None, None] * num_faces
    return jnp.where(winner < none, winner - first, -1)
