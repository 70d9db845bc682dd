"""Triangles on the screen: which are drawn, their edge functions, barycentrics and distances.

Edge function i of a face at pixel centre p is the cross product of the edge opposite vertex i with
p minus a point of that edge: twice the area of the triangle that p makes with the edge. All three
are >= 0 inside, and their sum is twice the area of the face.
"""

import jax
import jax.numpy as jnp

from render.camera import NEAR

# A face lower than this above its longest edge is degenerate: the rounding of its own corners
# could draw it. Absolute part in px, relative part of the edge's length.
MIN_HEIGHT_PX = 3e-5
MIN_HEIGHT_RELATIVE = 1e-6

TABLE_COLUMNS = 15


def drawable(corners_px: jax.Array, depths: jax.Array) -> jax.Array:
    """Faces wholly before the camera, finite and not degenerate.

    Args:
      corners_px: (..., 3, 2) px.
      depths: (..., 3) m.

    Returns:
      (...) bool.
    """
    edges = jnp.roll(corners_px, -1, axis=-2) - corners_px
    longest = jnp.sqrt(jnp.max(jnp.sum(edges**2, axis=-1), axis=-1))
    height = jnp.abs(_cross(edges[..., 0, :], edges[..., 1, :])) / jnp.where(
        longest > 0, longest, 1.0
    )
    # Comparisons are False on NaN; an infinite corner makes the height infinite or NaN.
    solid = (height > MIN_HEIGHT_PX + MIN_HEIGHT_RELATIVE * longest) & jnp.isfinite(height)
    return solid & jnp.all((depths > NEAR) & jnp.isfinite(depths), axis=-1)


def edge_table(corners_px: jax.Array, depths: jax.Array) -> jax.Array:
    """Rows from which `edge_functions` tests pixels: per edge start x, y and step x, y, then 1/z.

    Each edge starts at its lower end in (x, y) order, whichever face asks, and its sign is put on
    afterwards: two faces that share an edge compute the same number with opposite signs, so that
    a pixel centre near the edge is inside one of them whatever the rounding: no holes.

    Args:
      corners_px: (M, 3, 2) px.
      depths: (M, 3) m.

    Returns:
      (M, 15).
    """
    orientation = jnp.where(
        _cross(corners_px[:, 1] - corners_px[:, 0], corners_px[:, 2] - corners_px[:, 0]) < 0,
        -1.0,
        1.0,
    )
    columns = []
    for i in range(3):
        a, b = corners_px[:, (i + 1) % 3], corners_px[:, (i + 2) % 3]
        swap = (b[:, 0] < a[:, 0]) | ((b[:, 0] == a[:, 0]) & (b[:, 1] < a[:, 1]))
        start = jnp.where(swap[:, None], b, a)
        end = jnp.where(swap[:, None], a, b)
        step = (end - start) * jnp.where(swap, -orientation, orientation)[:, None]
        columns += [start[:, 0], start[:, 1], step[:, 0], step[:, 1]]
    inverse = 1.0 / jnp.where(depths > NEAR, depths, 1.0)
    return jnp.stack([*columns, inverse[:, 0], inverse[:, 1], inverse[:, 2]], axis=-1)


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


def interpolation(corners_px, depths, x, y):
    """Perspective-correct barycentrics, depth and outline distance at points inside faces.

    Arrays are given and returned coordinate by coordinate: XLA is slow on minor axes of 3.

    Args:
      corners_px: three (x, y) pairs of (...) arrays, px.
      depths: three (...), m, > 0.
      x, y: (...) pixel centres, px.

    Returns:
      barycentrics: three (...); depth (...), m; squared distance to the outline (...), px^2.
    """
    relative = [(cx - x, cy - y) for cx, cy in corners_px]
    inverse = [1.0 / z for z in depths]
    areas = []
    distance = None
    for i in range(3):
        (ax, ay), (bx, by) = relative[(i + 1) % 3], relative[(i + 2) % 3]
        areas.append(ax * by - ay * bx)
        squared = _squared_distance_to_segment(ax, ay, bx, by)
        distance = squared if distance is None else jnp.minimum(distance, squared)
    weights = [area * w for area, w in zip(areas, inverse)]
    total = weights[0] + weights[1] + weights[2]
    barycentrics = [weight / total for weight in weights]
    depth = (areas[0] + areas[1] + areas[2]) / total
    return barycentrics, depth, distance


def _squared_distance_to_segment(ax, ay, bx, by):
    """From the origin to the segment a-b."""
    dx, dy = bx - ax, by - ay
    length_squared = dx * dx + dy * dy
    some = length_squared > 0
    t = jnp.clip(-(ax * dx + ay * dy) / jnp.where(some, length_squared, 1.0), 0.0, 1.0)
    return (ax + t * dx) ** 2 + (ay + t * dy) ** 2


def _cross(a, b):
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
