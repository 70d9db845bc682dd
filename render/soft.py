"""Soft rasterisation: the K nearest faces that cover or nearly cover each pixel.

SoftRas (Liu et al., ICCV 2019) with the arithmetic of PyTorch3D, so that its numbers are met. Which
faces a pixel keeps is found without gradients: the faces of each 8 x 8 tile are sorted into the
pixels' K slots, one face a tile at a time, many tiles at once.
"""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from render.blocks import SIDE, BlockPairs, block_pairs, strip_grid, strip_rows
from render.camera import NEAR, ndc_per_pixel
from render.covered import map_covered
from render.fragments import Fragments
from render.triangles import SPARE, bounding_box, doubled_area, screen_corners

MIN_AREA_NDC = 1e-8  # a face of less than half of it is drawn nowhere
WINDOW = 1 << 17  # (face, tile) pairs that are sorted at a time, at most
_EPSILON = 1e-8
_Pair = tuple[jax.Array, jax.Array]  # depths and faces


@dataclasses.dataclass(frozen=True)
class SoftOptions:
    """How faces are drawn softly; the names and defaults are PyTorch3D's.

    Attributes:
      blur_radius: squared distance in normalised units (the shorter image side spans [-1, 1]) up to
        which a face counts for a pixel outside of it.
      perspective_correct: barycentrics by perspective, or as seen on the screen.
      clip_barycentric_coords: barycentrics outside of the face are clipped to it; None where blurred.
      cull_backfaces: leave out faces that turn away from the camera.
    """

    blur_radius: float = 0.0
    perspective_correct: bool = True
    clip_barycentric_coords: bool | None = None
    cull_backfaces: bool = False


@functools.partial(jax.jit, static_argnames=("image_size", "faces_per_pixel", "options"))
def rasterize_soft(
    vertices_cam: jax.Array,
    faces: jax.Array,
    K: jax.Array,
    image_size: tuple[int, int],
    faces_per_pixel: int = 8,
    options: SoftOptions = SoftOptions(),
) -> Fragments:
    """The nearest faces of each pixel among those that cover it or are within the blur radius.

    Of equal depths the lowest face index comes first. A pixel centre on an edge (of the corners as
    float32 has them, relative to it) is inside neither face of the edge, whichever way they turn:
    for watertight silhouettes without a blur take `rasterize`. Gradients flow to the vertices and K
    through depth, barycentrics and distances, never through the choice of faces.

    Args:
      vertices_cam: (..., V, 3) camera frame, m.
      faces: (F, 3) or (..., F, 3) int vertex indices.
      K: (..., 3, 3) intrinsics, px.
      image_size: (H, W), static.
      faces_per_pixel: P, how many faces each pixel keeps.
      options: the SoftOptions, static.

    Returns:
      Fragments with P faces per pixel, in order of depth.

    Raises:
      ValueError: if pixels times P, vertices or faces are more than an int32 can number.
    """
    corners, batch = screen_corners(vertices_cam, faces, K)
    pix_to_face = select_soft_faces(
        lax.stop_gradient(corners), image_size, faces_per_pixel, options
    )
    fragments = soft_fragments(pix_to_face, corners, options)
    return jax.tree.map(lambda a: a.reshape(batch + a.shape[1:]), fragments)


def soft_fragments(pix_to_face: jax.Array, corners: jax.Array, options: SoftOptions) -> Fragments:
    """What pixels see of the faces (N, H, W, P) that they keep, of corners (N, F, 9)."""
    image_size = pix_to_face.shape[1], pix_to_face.shape[2]
    depth, barycentrics, dists = map_covered(
        functools.partial(soft_values, ndc_per_pixel(image_size), options),
        pix_to_face,
        corners[..., None, :],
        empty=((-1.0,), (-1.0,) * 3, (-1.0,)),
        spare=SPARE,
    )
    return Fragments(pix_to_face, depth[..., 0], barycentrics, dists[..., 0])


def soft_values(
    unit: float,
    options: SoftOptions,
    corner: list[jax.Array],
    x: jax.Array,
    y: jax.Array,
    of_image: Sequence[jax.Array] = (),
) -> list[jax.Array]:
    """Depth, three barycentrics and the signed squared distance of pixels to a face, PyTorch3D's way.

    Args:
      unit: normalised units in a pixel.
      options: the SoftOptions.
      corner: nine arrays, x and y in px and depth in m of the three corners.
      x, y: pixel centres, px.
    """
    *weights, distance = on_screen(unit, corner, x, y)
    return [*in_depth(options, weights, corner[2::3]), distance]


def on_screen(unit: float, corner: list[jax.Array], x: jax.Array, y: jax.Array) -> list[jax.Array]:
    """Three barycentrics on the screen and the signed squared distance."""
    px, py = [c - x for c in corner[0::3]], [c - y for c in corner[1::3]]
    # PyTorch3D's area is positive for the other orientation, which its epsilon tells apart.
    area = _EPSILON / unit**2 - doubled_area(corner[0::3], corner[1::3])
    products = [(py[i - 2] * px[i - 1], px[i - 2] * py[i - 1]) for i in range(3)]
    weights = [(a - b) / area for a, b in products]
    # Two products that are equal are rounded to one number. Their difference need not be 0: a fused
    # multiply-add rounds but one of them.
    sides = [jnp.where(area > 0, a > b, a < b) for a, b in products]
    inside = sides[0] & sides[1] & sides[2]
    distance = squared_distance([p * unit for p in px], [p * unit for p in py])
    return [*weights, jnp.where(inside, -distance, distance)]


def in_depth(options: SoftOptions, weights: list[jax.Array], z: list[jax.Array]) -> list[jax.Array]:
    """Depth and three barycentrics of barycentrics on the screen and the corners' depths."""
    if options.perspective_correct:
        weights = [w * z[i - 1] * z[i - 2] for i, w in enumerate(weights)]
        total = weights[0] + weights[1] + weights[2]
        # Beyond the vanishing line of the face's plane the total is negative: no gradient there.
        total = jnp.where(total > _EPSILON, total, _EPSILON)
        weights = [w / total for w in weights]
    clip = options.clip_barycentric_coords
    if options.blur_radius > 0 if clip is None else clip:
        weights = [jnp.maximum(w, 0.0) for w in weights]
        total = jnp.maximum(weights[0] + weights[1] + weights[2], 1e-5)
        weights = [w / total for w in weights]
    return [weights[0] * z[0] + weights[1] * z[1] + weights[2] * z[2], *weights]


def squared_distance(px: list[jax.Array], py: list[jax.Array]) -> jax.Array:
    """From the origin to the outline of a triangle; of equally near edges 01, 02, 12 the first counts."""
    return nearest_edge(px, py)[0]


def nearest_edge(
    px: list[jax.Array], py: list[jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`squared_distance`, the number of its edge, and how far along (0 to 1, without a gradient) it is."""
    edges = []
    for i, j in ((0, 1), (0, 2), (1, 2)):
        dx, dy = px[j] - px[i], py[j] - py[i]
        squared = dx * dx + dy * dy
        long = squared > _EPSILON
        t = -(px[i] * dx + py[i] * dy) / jnp.where(long, squared, 1.0)
        t = lax.stop_gradient(jnp.where(long, jnp.clip(t, 0.0, 1.0), 1.0))
        edges.append(((px[i] + t * dx) ** 2 + (py[i] + t * dy) ** 2, t))
    nearest, along = edges[0]
    number = jnp.zeros(nearest.shape, jnp.int32)
    for k, (edge, t) in enumerate(edges[1:], 1):
        first = nearest <= edge
        number, along = jnp.where(first, number, k), jnp.where(first, along, t)
        nearest = jnp.where(first, nearest, edge)
    return nearest, number, along


def soft_drawable(corners: jax.Array, unit: float, cull_backfaces: bool = False) -> jax.Array:
    """Faces (..., 9) wholly before the camera, finite and with an area: (...) bool."""
    area = doubled_area(*([corners[..., 3 * i + k] for i in range(3)] for k in range(2))) * unit**2
    drawn = jnp.abs(area) > MIN_AREA_NDC
    if cull_backfaces:
        drawn &= area < 0
    return (
        drawn
        & jnp.all(jnp.isfinite(corners), axis=-1)
        & jnp.all(corners[..., 2::3] > NEAR, axis=-1)
    )


def soft_pairs(
    corners: jax.Array,
    image_size: tuple[int, int],
    radius: float,
    drawn: jax.Array,
    aligned: bool = False,
) -> BlockPairs:
    """The BlockPairs of faces (M, 9) with the blocks that their boxes, grown by the blur, touch."""
    margin = radius**0.5 / ndc_per_pixel(image_size)
    low, high = bounding_box(corners)
    return block_pairs(
        [a - margin for a in low], [a + margin for a in high], drawn, image_size, aligned
    )


def _tiles_at_once() -> int:
    """On a processor as many as stay in its cache, elsewhere enough to fill the device."""
    return 64 if jax.default_backend() == "cpu" else 1 << 14


def _window(tiles: int) -> int:
    """How many pairs are sorted at a time: so many that tile and place fit one number, down to 2**12."""
    return max(min(WINDOW, 1 << (32 - tiles.bit_length())), 1 << 12)


def _sorted(tile: jax.Array, face: jax.Array, tiles: int) -> _Pair:
    """Pairs by tile, in their order within each; tiles are 0 to `tiles`, the last for pairs of nobody."""
    bits = (len(tile) - 1).bit_length()
    if tiles >= 1 << (32 - bits):
        tile, face = lax.sort((tile, face), num_keys=1, is_stable=True)
        return tile, face
    # XLA's CPU backend sorts one number five times as fast as a pair.
    key = (tile.astype(jnp.uint32) << bits) | jnp.arange(len(tile), dtype=jnp.uint32)
    key = lax.sort(key)
    return (key >> bits).astype(jnp.int32), face[key & ((1 << bits) - 1)]


def select_soft_faces(
    corners: jax.Array, image_size: tuple[int, int], slots: int, options: SoftOptions
) -> jax.Array:
    """Index (N, H, W, slots) of the faces that each pixel keeps, -1 where none."""
    images, num_faces = corners.shape[:2]
    if not images:
        return jnp.zeros((0, *image_size, slots), jnp.int32)
    across, rows = strip_grid(image_size)
    down = rows // SIDE
    tiles = strip_rows(images, image_size) // SIDE
    unit = ndc_per_pixel(image_size)
    corners = jnp.pad(corners.astype(jnp.float32).reshape(-1, 9), ((0, 1), (0, 0)))
    nobody = corners.shape[0] - 1
    drawn = soft_drawable(corners, unit, options.cull_backfaces).at[-1].set(False)
    pairs = soft_pairs(corners, image_size, options.blur_radius, drawn, aligned=True)
    corners = jnp.where(drawn[:, None], corners, jnp.array(SPARE))
    offset = jnp.arange(SIDE * SIDE)
    group = min(_tiles_at_once(), tiles)
    window_size = _window(tiles)

    def candidate(columns: jax.Array, face: jax.Array, tile: jax.Array) -> jax.Array:
        """Depth (G, 64) of one face a tile, of corners (9, G); infinite at pixels that do not keep it."""
        column = [columns[k, :, None] for k in range(9)]
        x = (tile // down % across * SIDE)[:, None] + offset % SIDE + 0.5
        y = (tile % down * SIDE)[:, None] + offset // SIDE + 0.5
        depth, *_, distance = soft_values(unit, options, column, x, y)
        kept = (face < nobody)[:, None] & (depth >= 0) & (distance < options.blur_radius)
        # Without a blur an inside pixel at distance 0 has d = -0: it counts as PyTorch3D's does.
        kept |= (face < nobody)[:, None] & (depth >= 0) & jnp.signbit(distance)
        return jnp.where(kept, depth, jnp.inf)

    def insert(
        depth: jax.Array, face: jax.Array, new_depth: jax.Array, new_face: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """Sorted slots (slots, G, 64) with one more face, behind those of the same depth."""
        new_depth, new_face = new_depth[None], new_face[None, :, None]
        before = jnp.concatenate([jnp.full_like(depth[:1], -jnp.inf), depth[:-1]])
        face_before = jnp.concatenate([face[:1], face[:-1]])
        moved, takes = new_depth < before, new_depth < depth
        return (
            jnp.where(moved, before, jnp.where(takes, new_depth, depth)),
            jnp.where(moved, face_before, jnp.where(takes, new_face, face)),
        )

    def window(
        face: jax.Array, row: jax.Array, strip: jax.Array, slots_of: list[jax.Array]
    ) -> list[jax.Array]:
        """Sorts one window of pairs by tile and walks the tiles, those with most faces first."""
        image = jnp.minimum(face // max(num_faces, 1), images - 1)
        tile = (image * across + strip) * down + row // SIDE
        tile = jnp.where(face < nobody, tile, tiles)
        tile, face = _sorted(tile, face, tiles)
        count = jnp.zeros(tiles + 1, jnp.int32).at[tile].add(1)[:-1]
        start = jnp.cumsum(count) - count
        busy = jnp.argsort(-count)
        busy = jnp.concatenate([busy, jnp.full(group, tiles, busy.dtype)]).astype(jnp.int32)
        groups = (jnp.sum(count > 0) + group - 1) // group

        def walk(g: jax.Array, slots_of: list[jax.Array]) -> list[jax.Array]:
            mine = lax.dynamic_slice(busy, (g * group,), (group,))
            faces_left = count.at[mine].get(mode="fill", fill_value=0)
            first = start.at[mine].get(mode="clip")

            # Three faces are on their way: one is read, one has its depth computed, one is inserted.
            # In one step XLA's CPU backend would read it for each pixel, and compute it for each slot.
            def step(j: jax.Array, state: tuple[_Pair, _Pair, _Pair]) -> tuple[_Pair, _Pair, _Pair]:
                slots_of, (depth, face_before), (columns, face_now) = state
                at = jnp.minimum(first + j, window_size - 1)
                new_face = jnp.where(j < faces_left, face[at], nobody)
                slots_of = insert(*slots_of, depth, face_before)
                return (
                    slots_of,
                    (candidate(columns, face_now, mine), face_now),
                    (corners[new_face].T, new_face),
                )

            held = tuple(s.at[:, mine].get(mode="clip") for s in slots_of)
            empty = jnp.full(group, nobody, jnp.int32)
            nothing = jnp.full((group, SIDE * SIDE), jnp.inf), empty
            state = held, nothing, (corners[empty].T, empty)
            held, *_ = lax.fori_loop(0, jnp.max(faces_left) + 2, step, state)
            return [s.at[:, mine].set(new, mode="drop") for s, new in zip(slots_of, held)]

        return lax.fori_loop(0, groups, walk, slots_of)

    slots_of = [
        jnp.full((slots, tiles, SIDE * SIDE), jnp.inf),
        jnp.full((slots, tiles, SIDE * SIDE), nobody, jnp.int32),
    ]
    _, face = pairs.walk(window_size, window, slots_of)
    face = face.reshape(slots, images, across, down, SIDE, SIDE).transpose(1, 3, 4, 2, 5, 0)
    face = face.reshape(images, rows, across * SIDE, slots)
    face = face[:, : image_size[0], : image_size[1]]
    first = jnp.arange(images, dtype=jnp.int32)[:, None, None, None] * num_faces
    return jnp.where(face < nobody, face - first, -1)
