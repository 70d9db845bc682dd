"""Triangles on the screen: which are drawn, their edge functions, barycentrics and distances.

Edge function i of a face at pixel centre p is the cross product of the edge opposite vertex i with
p minus a point of that edge: twice the area of the triangle that p makes with the edge. All three
are >= 0 inside, and their sum is twice the area of the face.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from render.camera import NEAR, project
from render.counts import check_count

# A face lower than this above its longest edge is degenerate: the rounding of its own corners
# could draw it. Absolute part in px, relative part of the edge's length.
MIN_HEIGHT_PX = 3e-5
MIN_HEIGHT_RELATIVE = 1e-6

# A face for pixels that see none: nothing divides by zero there.
SPARE = (0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0)


def screen_corners(
    vertices_cam: jax.Array, faces: jax.Array, K: jax.Array
) -> tuple[jax.Array, tuple[int, ...]]:
    """The corners of all faces on the screen, in rows: XLA is slow on minor axes of 3.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int.
      K: (..., 3, 3) intrinsics, px.

    Returns:
      (N, F, 9) x and y in px and depth in m of the three corners, N images, and the batch's shape.
    """
    batch = jnp.broadcast_shapes(vertices_cam.shape[:-2], faces.shape[:-2], K.shape[:-2])
    pixels, depth = project(vertices_cam, K), vertices_cam[..., 2]
    depth = jnp.broadcast_to(depth[..., None], (*pixels.shape[:-1], 1))
    screen = jnp.concatenate([pixels, depth], axis=-1)
    corners = take_vertices(screen, faces, batch)
    return corners.reshape(math.prod(batch), faces.shape[-2], 9), batch


def take_vertices(values: jax.Array, faces: jax.Array, batch: tuple[int, ...]) -> jax.Array:
    """Values (..., V, C) of the corners of faces (..., F, 3): (N F, 3 C), N images of the batch."""
    count, channels = values.shape[-2:]
    values = jnp.broadcast_to(values, (*batch, count, channels)).reshape(-1, channels)
    images = math.prod(batch)
    check_count(images * count, "vertices of all images")
    check_count(images * faces.shape[-2] + 1, "faces of all images")
    faces = jnp.broadcast_to(faces, batch + faces.shape[-2:]).reshape(images, faces.shape[-2] * 3)
    first = jnp.arange(images, dtype=jnp.int32)[:, None] * count
    index = jnp.clip(faces.astype(jnp.int32), 0, count - 1) + first
    rows = values.at[index.reshape(-1)].get(mode="promise_in_bounds")
    return rows.reshape(-1, 3 * channels)


def drawable(corners: jax.Array) -> jax.Array:
    """Faces wholly before the camera, finite and not degenerate.

    Args:
      corners: (..., 9) of `screen_corners`.

    Returns:
      (...) bool.
    """
    x, y, z = ([corners[..., 3 * i + k] for i in range(3)] for k in range(3))
    squared = [(x[i] - x[i - 1]) ** 2 + (y[i] - y[i - 1]) ** 2 for i in range(3)]
    longest = jnp.sqrt(jnp.maximum(jnp.maximum(squared[0], squared[1]), squared[2]))
    height = jnp.abs(doubled_area(x, y)) / jnp.where(longest > 0, longest, 1.0)
    # Comparisons are False on NaN; an infinite corner makes the height infinite or NaN.
    solid = (height > MIN_HEIGHT_PX + MIN_HEIGHT_RELATIVE * longest) & jnp.isfinite(height)
    for depth in z:
        solid &= (depth > NEAR) & jnp.isfinite(depth)
    return solid


def bounding_box(corners: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
    """The low and the high x and y, each (...), px, of faces (..., 9)."""
    axes = [[corners[..., 3 * i + k] for i in range(3)] for k in range(2)]
    low = [jnp.minimum(jnp.minimum(a, b), c) for a, b, c in axes]
    return low, [jnp.maximum(jnp.maximum(a, b), c) for a, b, c in axes]


def doubled_area(x: list[jax.Array], y: list[jax.Array]) -> jax.Array:
    """Twice the signed area of triangles with these three x and y, positive if clockwise on screen."""
    return (x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0])


def edge_table(corners: jax.Array) -> jax.Array:
    """Rows from which `edge_functions` tests pixels: per edge start x, y and step x, y, then 1/z.

    Each edge starts at its lower end in (x, y) order, whichever face asks, and its sign is put on
    afterwards: two faces that share an edge compute the same number with opposite signs, so that
    a pixel centre near the edge is inside one of them whatever the rounding: no holes.

    Args:
      corners: (M, 9) of `screen_corners`.

    Returns:
      (M, 15).
    """
    x, y, z = ([corners[:, 3 * i + k] for i in range(3)] for k in range(3))
    orientation = jnp.where(doubled_area(x, y) < 0, -1.0, 1.0)
    columns = []
    for i in range(3):
        a, b = (i + 1) % 3, (i + 2) % 3
        swap = (x[b] < x[a]) | ((x[b] == x[a]) & (y[b] < y[a]))
        sign = jnp.where(swap, -orientation, orientation)
        start_x, start_y = jnp.where(swap, x[b], x[a]), jnp.where(swap, y[b], y[a])
        end_x, end_y = jnp.where(swap, x[a], x[b]), jnp.where(swap, y[a], y[b])
        columns += [start_x, start_y, (end_x - start_x) * sign, (end_y - start_y) * sign]
    return jnp.stack([*columns, *(1.0 / jnp.where(d > NEAR, d, 1.0) for d in z)], axis=-1)


def edge_functions(rows: jax.Array, x: jax.Array, y: jax.Array) -> list[jax.Array]:
    """The three edge functions of faces at pixel centres.

    Args:
      rows: (C, 15) of `edge_table`.
      x: (C, 1, w) columns' centres, px.
      y: (C, h, 1) rows' centres, px.

    Returns:
      three (C, h, w), px^2, all >= 0 inside.
    """
    column = [rows[:, k, None, None] for k in range(12)]
    return [
        column[4 * i + 2] * (y - column[4 * i + 1]) - column[4 * i + 3] * (x - column[4 * i])
        for i in range(3)
    ]


def planes(
    corners: jax.Array, values: jax.Array, image_size: tuple[int, int]
) -> tuple[jax.Array, jax.Array]:
    """The affine functions of the screen that take given values at the corners of faces.

    Args:
      corners: (N, F, 9) of `screen_corners`.
      values: (N, F, 3, J) at the three corners.
      image_size: (H, W).

    Returns:
      rows (N, F, 3, J): by x, by y and at the origin; and the origins (N, F, 2), px. Zero for faces
      without an area.
    """
    origins = _origins(corners, image_size)
    x, y = ([corners[..., 3 * i + k] - origins[..., k] for i in range(3)] for k in range(2))
    area = doubled_area(x, y)
    some = area != 0
    scale = jnp.where(some, 1.0 / jnp.where(some, area, 1.0), 0.0)
    barycentrics = []
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        affine = [y[j] - y[k], x[k] - x[j], x[j] * y[k] - x[k] * y[j]]
        barycentrics.append([(a * scale)[..., None] for a in affine])
    basis = jnp.stack([jnp.concatenate(b, axis=-1) for b in barycentrics], axis=-2)
    rows = jnp.einsum("nfik,nfij->nfkj", basis, values, precision=lax.Precision.HIGHEST)
    return rows, origins


def _origins(corners: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """A point of the image near each face, so that nothing large cancels at its pixels."""
    limits = jnp.array(image_size[::-1], corners.dtype)
    return lax.stop_gradient(jnp.clip(corners[..., :2], 0.0, limits))


def nearness(depth: jax.Array) -> jax.Array:
    """1/depth, 1/m; 1 where the depth, m, is not before the camera."""
    return 1.0 / jnp.where(depth > NEAR, depth, 1.0)


def outline(corners: jax.Array, image_size: tuple[int, int]) -> tuple[jax.Array, jax.Array]:
    """Where pixels are along and across the edges of faces, as affine functions of the screen.

    Args:
      corners: (N, F, 9) of `screen_corners`.
      image_size: (H, W).

    Returns:
      rows (N, F, 3, 9) and origins (N, F, 2) as of `planes`: for each edge the distance along it
      from its start, the distance to its line, and its length, px.
    """
    origins = _origins(corners, image_size)
    x, y = ([corners[..., 3 * i + k] - origins[..., k] for i in range(3)] for k in range(2))
    zero = jnp.zeros_like(x[0])
    by_x, by_y, start = [], [], []
    for i in range(3):
        j = (i + 1) % 3
        dx, dy = x[j] - x[i], y[j] - y[i]
        squared = dx * dx + dy * dy
        some = squared > 0
        inverse = jnp.where(some, lax.rsqrt(jnp.where(some, squared, 1.0)), 0.0)
        # An edge of no length points along x: its distance is that of a point.
        ux, uy = jnp.where(some, dx * inverse, 1.0), dy * inverse
        # Of the two ends the nearer one: a far one would cost the distance its precision.
        first = jnp.abs(x[i]) + jnp.abs(y[i]) < jnp.abs(x[j]) + jnp.abs(y[j])
        near_x, near_y = jnp.where(first, x[i], x[j]), jnp.where(first, y[i], y[j])
        by_x += [ux, -uy, zero]
        by_y += [uy, ux, zero]
        start += [-(ux * x[i] + uy * y[i]), uy * near_x - ux * near_y, squared * inverse]
    rows = jnp.stack([*by_x, *by_y, *start], axis=-1)
    return rows.reshape(*corners.shape[:-1], 3, 9), origins


def outline_distance(values: list[jax.Array]) -> jax.Array:
    """Squared distance to the outline, px^2, from the nine values of `outline`."""
    edges = []
    for along, across, length in zip(values[::3], values[1::3], values[2::3]):
        beyond = along - jnp.clip(along, 0.0, length)
        edges.append(beyond * beyond + across * across)
    return jnp.minimum(jnp.minimum(edges[0], edges[1]), edges[2])
