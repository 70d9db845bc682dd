"""The hard rasteriser: per pixel the nearest face that covers its centre.

Which face wins is found without gradients by walking (face, tile) pairs in chunks and scattering
into a z-buffer; what the pixel sees of that face is then plain differentiable arithmetic.
"""

import functools
import math

import jax
import jax.numpy as jnp

from render.camera import ndc_per_pixel, pixel_centres, project
from render.fragments import Fragments
from render.gather import gather_columns
from render.tiles import TILE, tile_grid, tile_pairs
from render.triangles import drawable, edge_functions, edge_table, interpolation

# Depths this close (relative) are one depth: the lowest face index wins. A few float32 roundings,
# so that both passes over the pairs, which XLA may round differently, agree on the winner.
TIE = 2.5e-7
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
    """
    corners, batch = _screen_corners(vertices_cam, faces, K)
    pix_to_face = select_faces(jax.lax.stop_gradient(corners), image_size)
    x, y = pixel_centres(image_size)
    fragments = _interpolate_faces(corners, pix_to_face, x[None, :], y[:, None], image_size)
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

    Cheaper than a whole image where only some of its pixels count.

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
    corners, batch = _screen_corners(vertices_cam, faces, K)
    pix_to_face = jnp.broadcast_to(pix_to_face, batch + pix_to_face.shape[-2:])
    flat = pix_to_face.reshape(corners.shape[0], *pix_to_face.shape[-2:])
    fragments = _interpolate_faces(corners, flat, x, y, image_size)
    return jax.tree.map(lambda a: a.reshape(batch + a.shape[1:]), fragments)


def _screen_corners(vertices_cam, faces, K):
    """Corners (N, F, 3, 3) of the faces, x and y in px and depth in m, and the batch's shape."""
    batch = jnp.broadcast_shapes(vertices_cam.shape[:-2], faces.shape[:-2], K.shape[:-2])
    vertices_cam = jnp.broadcast_to(vertices_cam, batch + vertices_cam.shape[-2:])
    faces = jnp.broadcast_to(faces, batch + faces.shape[-2:])
    pixels, depth = project(vertices_cam, K)
    screen = jnp.concatenate([pixels, depth[..., None]], axis=-1)
    images = math.prod(batch)
    screen = screen.reshape(images, *screen.shape[-2:])
    faces = faces.reshape(images, *faces.shape[-2:]).astype(jnp.int32)
    corners = jnp.take_along_axis(
        screen, faces.reshape(images, 3 * faces.shape[-2], 1), axis=1, mode="clip"
    )
    return corners.reshape(*faces.shape, 3), batch


def select_faces(corners: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """Index of the nearest face that covers each pixel centre.

    Args:
      corners: (N, F, 3, 3) x and y in px and depth in m of the faces' corners.
      image_size: (H, W).

    Returns:
      (N, H, W) int32, -1 where no face is.
    """
    images, num_faces = corners.shape[:2]
    height, width = image_size
    rows, columns = tile_grid(image_size)
    tiles = images * rows * columns
    # One more, never drawn, face keeps every array non-empty.
    corners = jnp.pad(corners.astype(jnp.float32).reshape(-1, 3, 3), ((0, 1), (0, 0), (0, 0)))
    drawn = drawable(corners[..., :2], corners[..., 2])
    corners = jnp.where(drawn[:, None, None], corners, 0.0)
    pairs = tile_pairs(corners[..., :2], drawn, image_size)
    table = edge_table(corners[..., :2], corners[..., 2])
    offset = jnp.arange(TILE) + 0.5

    def chunk(i):
        """Tile, face and inverse depth (0 outside the face) of one chunk of pairs."""
        number = i * CHUNK + jnp.arange(CHUNK, dtype=jnp.int32)
        face, row, column = pairs.decode(number)
        tile = (face // max(num_faces, 1) * rows + row) * columns + column
        coefficients = table[face]
        edges = edge_functions(
            coefficients,
            (column[:, None] * TILE + offset)[:, None, :],
            (row[:, None] * TILE + offset)[:, :, None],
        )
        inverse = [coefficients[:, 12 + k, None, None] for k in range(3)]
        area = edges[0] + edges[1] + edges[2]
        inside = (jnp.minimum(jnp.minimum(edges[0], edges[1]), edges[2]) >= 0) & (area > 0)
        weighted = edges[0] * inverse[0] + edges[1] * inverse[1] + edges[2] * inverse[2]
        nearness = jnp.where(inside, weighted / jnp.where(area > 0, area, 1.0), 0.0)
        return (
            jnp.where(number < pairs.total, tile, tiles),
            face,
            nearness.reshape(CHUNK, TILE * TILE),
        )

    def nearest(i, best):
        tile, _, nearness = chunk(i)
        return best.at[tile].max(nearness, mode="drop")

    def lowest(i, winner):
        tile, face, nearness = chunk(i)
        wins = (nearness > 0) & (nearness >= limit.at[tile].get(mode="clip"))
        return winner.at[tile].min(
            jnp.where(wins, face[:, None], none).astype(jnp.int32), mode="drop"
        )

    chunks = (pairs.total + CHUNK - 1) // CHUNK
    none = jnp.int32(corners.shape[0])
    buffer = (tiles, TILE * TILE)
    best = jax.lax.fori_loop(0, chunks, nearest, jnp.zeros(buffer, jnp.float32))
    limit = best * (1 - TIE)
    winner = jax.lax.fori_loop(0, chunks, lowest, jnp.full(buffer, none))
    image = winner.reshape(images, rows, columns, TILE, TILE).transpose(0, 1, 3, 2, 4)
    image = image.reshape(images, rows * TILE, columns * TILE)[:, :height, :width]
    first = jnp.arange(images, dtype=jnp.int32)[:, None, None] * num_faces
    return jnp.where(image < none, image - first, -1)


def _interpolate_faces(corners, pix_to_face, x, y, image_size):
    """Fragments of the chosen faces: corners (N, F, 3, 3), pix_to_face (N, A, B), x, y (A, B)."""
    images, num_faces = corners.shape[:2]
    mask = pix_to_face >= 0
    first = jnp.arange(images)[:, None, None] * num_faces
    table = corners.reshape(-1, 9)
    column = gather_columns(table, jnp.where(mask, pix_to_face + first, table.shape[0]))
    # Empty pixels see a constant triangle: nothing divides by zero there.
    spare = (0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0)
    column = [jnp.where(mask, c, constant) for c, constant in zip(column, spare)]
    barycentrics, depth, distance = interpolation(
        [(column[0], column[1]), (column[3], column[4]), (column[6], column[7])],
        [column[2], column[5], column[8]],
        x.astype(corners.dtype),
        y.astype(corners.dtype),
    )
    return Fragments(
        pix_to_face=pix_to_face[..., None],
        zbuf=jnp.where(mask, depth, -1.0)[..., None],
        bary_coords=jnp.stack([jnp.where(mask, b, -1.0) for b in barycentrics], axis=-1)[
            ..., None, :
        ],
        dists=jnp.where(mask, -distance * ndc_per_pixel(image_size) ** 2, -1.0)[..., None],
    )
