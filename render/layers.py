"""The soft image in one pass: the faces' values at each pixel, their light, and the blend of all layers.

The numbers are those of `rasterize_soft`, `shade`, `softmax_blend` and `alpha`, one after the other. Here
nothing between them is stored for the whole image, nor kept for the backward pass, which computes it again.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from render.apart import apart
from render.blend import LEAST
from render.camera import ndc_per_pixel
from render.covered import GROUP, IN_BOUNDS, Shape, take
from render.shade import PointLight, corner_values, light_numbers, lit, vertex_normals
from render.soft import SoftOptions, in_depth, on_screen
from render.triangles import SPARE


@dataclasses.dataclass(frozen=True)
class Softness:
    """What is the same for all pixels of `blend_layers`: as of `softmax_blend`, and of the image."""

    sigma: float
    gamma: float
    znear: float
    zfar: float
    options: SoftOptions
    unit: float  # normalised units in a pixel
    channels: int


def blend_layers(
    pix_to_face: jax.Array,
    corners: jax.Array,
    batch: tuple[int, ...],
    vertices_cam: jax.Array,
    faces: jax.Array,
    colors: jax.Array,
    light: PointLight | None,
    options: SoftOptions,
    sigma: float,
    gamma: float,
    znear: float,
    zfar: float,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The image before black, how much of the background shines through, and the coverage.

    Args:
      pix_to_face: (N, H, W, P) of `select_soft_faces`, N the product of the leading axes.
      corners, batch: (N, F, 9) and the leading axes, of `screen_corners`.
      vertices_cam, faces, colors, light, sigma, gamma, znear, zfar: as of `render_soft`.
      options: of `rasterize_soft`.

    Returns:
      (..., H, W, C), the background's weight (..., H, W) and `alpha` (..., H, W).
    """
    _, height, width, slots = pix_to_face.shape
    attributes, numbers = [colors], []
    if light is not None:
        attributes += [vertex_normals(vertices_cam, faces), vertices_cam]
        numbers = light_numbers(light, batch, colors.dtype)
    rows = corner_values(attributes, faces, batch)
    softness = Softness(
        sigma, gamma, znear, zfar, options, ndc_per_pixel((height, width)), colors.shape[-1]
    )
    if corners.shape[0]:
        table = jnp.concatenate([corners, rows.reshape(*corners.shape[:2], -1)], axis=-1)
        shape = Shape(
            corners.shape[0],
            (height, width, slots),
            corners.shape[1],
            1,
            table.shape[-1],
            slots * max(1, GROUP // slots),
        )
        shape.check()
        image, behind, alpha = _blended(softness, shape, pix_to_face, table, numbers)
    else:
        image = jnp.zeros((0, height, width, softness.channels), colors.dtype)
        behind = alpha = image[..., :1]
    return (
        image.reshape(*batch, height, width, softness.channels),
        behind.reshape(*batch, height, width),
        alpha.reshape(*batch, height, width),
    )


def _of_pixels(
    softness: Softness,
    drawn: jax.Array,
    attributes: Sequence[jax.Array],
    depth: jax.Array,
    dists: jax.Array,
    light: Sequence[jax.Array],
) -> list[jax.Array]:
    """Colours, the background's weight and alpha (G, n) of what the slots (G, n, P) show."""
    colors = attributes[: softness.channels]
    if light:
        light = [number[..., None] for number in light]
        colors = lit(colors, attributes[-6:-3], attributes[-3:], light)
    coverage = jnp.where(drawn, jax.nn.sigmoid(-dists / softness.sigma), 0.0)
    nearness = jnp.where(drawn, (softness.zfar - depth) / (softness.zfar - softness.znear), 0.0)
    nearest = jnp.max(lax.stop_gradient(nearness), axis=-1, keepdims=True)
    nearest = jnp.maximum(nearest, LEAST)
    weights = coverage * jnp.exp((nearness - nearest) / softness.gamma)
    of_background = jnp.maximum(jnp.exp((LEAST - nearest[..., 0]) / softness.gamma), LEAST)
    total = jnp.sum(weights, axis=-1) + of_background
    blended = [jnp.sum(weights * color, axis=-1) / total for color in colors]
    return [*blended, of_background / total, 1.0 - jnp.prod(1.0 - coverage, axis=-1)]


class _Chunk:
    """What the slots (G, n, P) of a chunk's pixels see: their faces' corners and attributes."""

    def __init__(
        self, softness: Softness, shape: Shape, face: jax.Array, x: jax.Array, y: jax.Array
    ) -> None:
        self.softness, self.x, self.y = softness, x, y
        self.slots = (len(face), -1, shape.sides[2])
        self.drawn = (face < shape.images * shape.num_faces).reshape(self.slots)

    def on_screen(self, corner: list[jax.Array]) -> list[jax.Array]:
        """Three barycentrics on the screen and the distance of each slot, (G, n P)."""
        return on_screen(self.softness.unit, corner, self.x, self.y)

    def in_depth(self, weights: list[jax.Array], z: list[jax.Array]) -> list[jax.Array]:
        """Depth and three barycentrics of each slot, (G, n P)."""
        return in_depth(self.softness.options, weights, z)

    def blend(
        self, seen: Sequence[jax.Array], depth: jax.Array, dists: jax.Array, light: list[jax.Array]
    ) -> list[jax.Array]:
        """`_of_pixels` of slots that are not yet (G, n, P)."""
        seen, depth, dists = jax.tree.map(
            lambda a: a.reshape(self.slots), (list(seen), depth, dists)
        )
        return _of_pixels(self.softness, self.drawn, seen, depth, dists, light)


def _interpolated(
    barycentrics: Sequence[jax.Array], values: Sequence[jax.Array]
) -> list[jax.Array]:
    """Attributes by barycentrics, of their values at the first corner, then the second, then the third."""
    count = len(values) // 3
    return [
        functools.reduce(jnp.add, [b * values[i * count + k] for i, b in enumerate(barycentrics)])
        for k in range(count)
    ]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _blended(
    softness: Softness,
    shape: Shape,
    pix_to_face: jax.Array,
    rows: jax.Array,
    numbers: list[jax.Array],
) -> list[jax.Array]:
    """Colours (N, H, W, C), the background's weight and alpha (N, H, W, 1)."""
    return _forward(softness, shape, pix_to_face, rows, numbers)[0]


def _forward(
    softness: Softness,
    shape: Shape,
    pix_to_face: jax.Array,
    rows: jax.Array,
    numbers: list[jax.Array],
) -> tuple[list[jax.Array], tuple[Any, ...]]:
    table = _table(shape, rows)
    cover = shape.cover(pix_to_face)
    empty = (0.0,) * softness.channels, (1.0,), (0.0,)

    def step(i: jax.Array, images: list[jax.Array]) -> list[jax.Array]:
        index, of_image, face = shape.chunk(cover, i)
        chunk = _Chunk(softness, shape, face, *shape.centres(index, of_image, table.dtype))
        seen = table.at[face].get(mode=IN_BOUNDS)
        values = [seen[..., 2 + k] for k in range(shape.count)]
        *weights, dists = chunk.on_screen(values[:9])
        depth, *barycentrics = chunk.in_depth(weights, values[2:9:3])
        light = [n[:, None] for n in take(numbers, of_image)]
        attributes = _interpolated(barycentrics, values[9:])
        channels = iter(chunk.blend(attributes, depth, dists, light))
        covered = jnp.any(chunk.drawn, axis=-1)
        written = []
        for image, nothing in zip(images, empty):
            for k, value in enumerate(nothing):
                shown = jnp.where(covered, next(channels), value)
                image = image.at[index, :, k].set(shown, mode="drop")
            written.append(image)
        return written

    pixels = shape.group // shape.sides[2]
    images = [cover.filled((shape.groups, pixels), value, table.dtype) for value in empty]
    images = lax.fori_loop(0, cover.chunks, step, images)
    return [_pixels(shape).to_image(image)[..., 0, :] for image in images], (cover, rows, numbers)


def _backward(
    softness: Softness, shape: Shape, residual: tuple[Any, ...], cotangents: list[jax.Array]
) -> tuple[Any, ...]:
    cover, rows, numbers = residual
    table = _table(shape, rows)
    cotangents = [_pixels(shape).to_groups(c[..., None, :]) for c in cotangents]

    def step(
        i: jax.Array, state: tuple[jax.Array, list[jax.Array]]
    ) -> tuple[jax.Array, list[jax.Array]]:
        to_rows, to_numbers = state
        index, of_image, face = shape.chunk(cover, i)
        x, y = shape.centres(index, of_image, table.dtype)
        chunk = _Chunk(softness, shape, face, x, y)
        light = [n[:, None] for n in take(numbers, of_image)]

        rows_seen = apart(i, lambda face: table.at[face].get(mode=IN_BOUNDS), face)
        values = [rows_seen[..., 2 + k] for k in range(shape.count)]
        corner, z = values[:9], values[2:9:3]
        *on_screen, dists = apart(i, chunk.on_screen, corner)

        def weigh(on_screen: list[jax.Array]) -> list[jax.Array]:
            depth, *barycentrics = chunk.in_depth(on_screen, z)
            return [depth, *barycentrics, *_interpolated(barycentrics, values[9:])]

        depth, *seen = apart(i, weigh, on_screen)
        barycentrics, attributes = seen[:3], seen[3:]

        def pull(attributes: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
            covered = jnp.any(chunk.drawn, axis=-1)
            given = [
                jnp.where(covered, c.at[index, :, k].get(mode="fill", fill_value=0.0), 0.0)
                for c in cotangents
                for k in range(c.shape[-1])
            ]
            _, pullback = jax.vjp(chunk.blend, attributes, depth, dists, light)
            to_attributes, to_depth, to_dists, to_light = pullback(given)
            return [to_depth, to_dists, *to_attributes], [jnp.sum(g, axis=1) for g in to_light]

        (to_depth, to_dists, *to_attributes), to_light = apart(i, pull, attributes)
        to_numbers = [
            total.at[of_image].add(g, mode=IN_BOUNDS) for total, g in zip(to_numbers, to_light)
        ]

        def push(to_attributes: list[jax.Array]) -> list[jax.Array]:
            count = len(to_attributes)
            return [
                functools.reduce(
                    jnp.add,
                    [g * values[9 + k * count + m] for m, g in enumerate(to_attributes)],
                )
                for k in range(3)
            ]

        def weigh_back(to_barycentrics: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
            _, pullback = jax.vjp(chunk.in_depth, on_screen, z)
            return pullback([to_depth, *to_barycentrics])

        to_screen, to_z = apart(i, weigh_back, apart(i, push, to_attributes))

        def from_screen(to_screen: list[jax.Array]) -> list[jax.Array]:
            _, pullback = jax.vjp(chunk.on_screen, corner)
            (to_corner,) = pullback([*to_screen, to_dists])
            return to_corner

        to_corner = apart(i, from_screen, to_screen)
        to_corner[2::3] = to_z
        outer = [b * g for b in barycentrics for g in to_attributes]
        columns = jnp.stack([*to_corner, *outer]).reshape(shape.count, -1).T
        return to_rows.at[face.reshape(-1)].add(columns, mode=IN_BOUNDS), to_numbers

    to_rows = jnp.zeros((table.shape[0], shape.count), table.dtype)
    to_numbers = [jnp.zeros(n.shape, n.dtype) for n in numbers]
    to_rows, to_numbers = lax.fori_loop(0, cover.chunks, step, (to_rows, to_numbers))
    return None, to_rows[:-1].reshape(rows.shape), to_numbers


_blended.defvjp(_forward, _backward)


def _table(shape: Shape, rows: jax.Array) -> jax.Array:
    spare = (*SPARE, *(0.0,) * (shape.count - len(SPARE)))
    return shape.table(rows[..., None, :], None, spare)


def _pixels(shape: Shape) -> Shape:
    """The Shape of one slot a pixel, in the same groups."""
    height, width, slots = shape.sides
    return dataclasses.replace(shape, sides=(height, width, 1), group=shape.group // slots)
