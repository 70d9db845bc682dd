"""Per-pixel arithmetic where a face was drawn, so that its cost follows the covered pixels.

Neighbouring pixels form groups; the groups with a covered pixel are listed and walked in chunks,
forward and backward alike. What a pixel sees of its face are values that are affine in the face's
row; the row's gradient is then an outer product a pixel, added up in one scatter.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike

from render.apart import apart
from render.counts import check_count

GROUP = 16  # neighbours in memory; most of a silhouette's groups are full
CHUNK = 512  # groups; few enough for the processor's cache, enough for several cores to share
# (values, x, y, image_values) -> channels, as of `map_covered`.
PixelFunction = Callable[
    [list[jax.Array], jax.Array, jax.Array, list[jax.Array]], Sequence[jax.Array]
]
IN_BOUNDS = "promise_in_bounds"


def map_covered(
    function: PixelFunction,
    pix_to_face: jax.Array,
    rows: jax.Array,
    origins: jax.Array | None = None,
    basis: Sequence[jax.Array] | None = None,
    centres: Sequence[jax.Array] | None = None,
    image_values: Sequence[jax.Array] = (),
    empty: Sequence[Sequence[float]] = ((0.0,),),
    spare: Sequence[float] | None = None,
) -> list[jax.Array]:
    """function at every pixel (and slot) that shows a face.

    The pixel's values are v_j = sum_k rows[face, k, j] m_k, where m is (x - x0, y - y0, 1) with the
    face's origin (x0, y0), or the pixel's own basis; with one k they are the face's own numbers.
    Gradients flow to rows, basis and image_values.

    Args:
      function: (values, x, y, image_values) -> channels; values, image_values and channels are lists
        of arrays that broadcast, x and y the pixel's centre, px. It must be hashable and depend on
        its arguments alone (a module's function or a partial of one).
      pix_to_face: (N, H, W, P) int, index into the image's own faces, negative where empty.
      rows: (N, F, 3, J), or (N, F, 1, J) for numbers.
      origins: (N, F, 2) px, without a gradient.
      basis: three (N, H, W, P), in place of origins.
      centres: x and y (N, H, W, P) px, without a gradient, where they are not the pixels' own.
      image_values: arrays (N,).
      empty: for each output, what each of its channels holds where there is no face.
      spare: (J,) the values that the function sees where there is no face, such that its arithmetic
        and gradient stay finite; zeros by default.

    Returns:
      the outputs, each (N, H, W, P, its channels); together they have the function's channels.
    """
    _, height, width, slots = pix_to_face.shape
    shape = Shape(rows.shape[0], (height, width, slots), *rows.shape[1:])
    if not shape.images:
        return [jnp.zeros((*pix_to_face.shape, len(value)), rows.dtype) for value in empty]
    shape.check()
    return _map_covered(
        function,
        tuple(map(tuple, empty)),
        shape,
        tuple(spare or (0.0,) * shape.count),
        pix_to_face,
        rows,
        origins,
        None if basis is None else list(basis),
        None if centres is None else list(centres),
        list(image_values),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _map_covered(
    function: PixelFunction,
    empty: tuple[tuple[float, ...], ...],
    shape: "Shape",
    spare: tuple[float, ...],
    *inputs: Any,
) -> list[jax.Array]:
    return _forward(function, empty, shape, spare, *inputs)[0]


def _forward(
    function: PixelFunction,
    empty: tuple[tuple[float, ...], ...],
    shape: "Shape",
    spare: tuple[float, ...],
    pix_to_face: jax.Array,
    rows: jax.Array,
    origins: jax.Array | None,
    basis: list[jax.Array] | None,
    centres: list[jax.Array] | None,
    image_values: list[jax.Array],
) -> tuple[list[jax.Array], tuple[Any, ...]]:
    table = shape.table(rows, origins, spare)
    cover = shape.cover(pix_to_face)
    basis = basis and [shape.to_groups(m) for m in basis]
    centres = centres and [shape.to_groups(c) for c in centres]

    def chunk(i: jax.Array, outputs: list[list[jax.Array]]) -> list[list[jax.Array]]:
        index, image, face = shape.chunk(cover, i)
        x, y = take(centres, index) if centres else shape.centres(index, image, table.dtype)
        seen = table.at[face].get(mode=IN_BOUNDS)
        m = shape.factors(seen, x, y, basis and take(basis, index))
        values = shape.values(seen, m, basis is None)
        channels = iter(function(values, x, y, [v[:, None] for v in take(image_values, image)]))
        drawn = face < table.shape[0] - 1
        for output, nothing in zip(outputs, empty):
            for k, value in enumerate(nothing):
                shown = jnp.where(drawn, next(channels), value)
                output[0] = output[0].at[index, :, k].set(shown, mode="drop")
        return outputs

    outputs = [[cover.filled((shape.groups, GROUP), value, table.dtype)] for value in empty]
    outputs = lax.fori_loop(0, cover.chunks, chunk, outputs)
    images = [shape.to_image(output) for (output,) in outputs]
    return images, (cover, table, origins, basis, centres, image_values)


def _backward(
    function: PixelFunction,
    empty: tuple[tuple[float, ...], ...],
    shape: "Shape",
    spare: tuple[float, ...],
    residual: tuple[Any, ...],
    cotangents: list[jax.Array],
) -> tuple[Any, ...]:
    cover, table, origins, basis, centres, image_values = residual
    cotangents = [shape.to_groups(cotangent) for cotangent in cotangents]

    def step(i: jax.Array, state: tuple[Any, ...]) -> tuple[Any, ...]:
        to_rows, to_basis, to_images = state
        index, image, face = shape.chunk(cover, i)
        x, y = take(centres, index) if centres else shape.centres(index, image, table.dtype)
        seen = apart(i, lambda face: table.at[face].get(mode=IN_BOUNDS), face)
        m = shape.factors(seen, x, y, basis and take(basis, index))
        values = apart(i, lambda m: shape.values(seen, m, basis is None), m)

        def pull(values: list[jax.Array]) -> tuple[list[jax.Array], list[jax.Array]]:
            drawn = face < table.shape[0] - 1
            given = [
                jnp.where(drawn, cotangent.at[index, :, k].get(mode="clip"), 0.0)
                for cotangent in cotangents
                for k in range(cotangent.shape[-1])
            ]
            of_image = [v[:, None] for v in take(image_values, image)]
            _, pullback = jax.vjp(lambda v, w: function(v, x, y, w), values, of_image)
            gradients, of_image = pullback(given)
            return gradients, [jnp.sum(g, axis=1) for g in of_image]

        gradients, of_image = apart(i, pull, values)
        to_images = [
            total.at[image].add(g, mode=IN_BOUNDS) for total, g in zip(to_images, of_image)
        ]
        if to_basis is not None:
            to_basis = [
                total.at[index].set(
                    sum(g * seen[..., 2 + k * shape.count + j] for j, g in enumerate(gradients)),
                    mode="drop",
                )
                for k, total in enumerate(to_basis)
            ]
        g = jnp.stack(gradients).reshape(shape.count, -1).T
        of_rows = jnp.stack([jnp.broadcast_to(part, face.shape) for part in m])
        outer = of_rows.reshape(shape.terms, -1).T[:, :, None] * g[:, None, :]
        to_rows = to_rows.at[face.reshape(-1)].add(outer, mode=IN_BOUNDS)
        return to_rows, to_basis, to_images

    zeros = functools.partial(jax.tree.map, lambda a: jnp.zeros(a.shape, a.dtype))
    to_rows = jnp.zeros((table.shape[0], shape.terms, shape.count), table.dtype)
    state = to_rows, basis and zeros(basis), zeros(image_values)
    to_rows, to_basis, to_images = lax.fori_loop(0, cover.chunks, step, state)
    to_basis = basis and [shape.to_image(b) for b in to_basis]
    to_rows = to_rows[:-1].reshape(shape.images, shape.num_faces, shape.terms, shape.count)
    to_origins = None if origins is None else jnp.zeros_like(origins)
    return None, to_rows, to_origins, to_basis, centres and [None, None], to_images


_map_covered.defvjp(_forward, _backward)


def take(arrays: Sequence[jax.Array], index: jax.Array) -> list[jax.Array]:
    return [a.at[index].get(mode="clip") for a in arrays]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cover:
    """The faces of all groups, the list of the groups that show one, and its length in chunks."""

    face: jax.Array  # (groups, GROUP), in the table of all images
    list: jax.Array
    chunks: jax.Array

    def filled(
        self, shape: tuple[int, ...], channels: Sequence[float], dtype: DTypeLike
    ) -> jax.Array:
        """An image (*shape, C) of these channels, made after the cover, whose memory it can take then."""
        values = jnp.where(self.chunks >= 0, jnp.array(channels, dtype), 0)
        return jnp.broadcast_to(values, (*shape, len(channels)))


@dataclasses.dataclass(frozen=True)
class Shape:
    """How the pixels of N images (H, W, P) form groups (number `groups` is nobody's), and the rows."""

    images: int
    sides: tuple[int, int, int]
    num_faces: int
    terms: int
    count: int
    group: int = GROUP

    @property
    def per_image(self) -> int:
        return -(-math.prod(self.sides) // self.group)

    @property
    def groups(self) -> int:
        return self.images * self.per_image

    @property
    def room(self) -> int:
        """Length of a list of groups that chunks of nobody may follow."""
        return (-(-self.groups // CHUNK) + 3) * CHUNK

    def check(self) -> None:
        """ValueError if an int32 can't number an image's pixels and slots, or all groups."""
        check_count(
            (self.per_image + 1) * self.group, "places for a face (pixels x slots) of an image"
        )
        check_count(self.room, f"groups of {self.group} places for a face")

    def table(
        self, rows: jax.Array, origins: jax.Array | None, spare: tuple[float, ...]
    ) -> jax.Array:
        """Each face's origin and rows side by side; behind all faces the row of nobody."""
        if origins is None:
            origins = jnp.zeros((self.images, self.num_faces, 2), rows.dtype)
        columns = self.terms * self.count
        rows = rows.reshape(self.images, self.num_faces, columns)
        table = jnp.concatenate([origins, rows], axis=-1)
        table = table.reshape(self.images * self.num_faces, 2 + columns)
        nobody = np.zeros((1, 2 + columns), np.float32)
        nobody[0, -self.count :] = spare
        return jnp.concatenate([table, nobody.astype(rows.dtype)])

    def cover(self, pix_to_face: jax.Array) -> Cover:
        first = jnp.arange(self.images, dtype=jnp.int32)[:, None, None, None] * self.num_faces
        nothing = self.images * self.num_faces
        face = jnp.where(pix_to_face >= 0, pix_to_face + first, nothing).astype(jnp.int32)
        face = self.to_groups(face, nothing)
        shown = jnp.any(face < nothing, axis=1)
        place = jnp.cumsum(shown, dtype=jnp.int32)
        # Behind the groups that show a face, and there are chunks enough, stands that of nobody.
        listed = jnp.full(self.room, self.groups, jnp.int32)
        listed = listed.at[jnp.where(shown, place - 1, self.room)].set(
            jnp.arange(self.groups, dtype=jnp.int32), mode="drop"
        )
        return Cover(face, listed, (place[-1] + CHUNK - 1) // CHUNK)

    def chunk(self, cover: Cover, i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Groups (G,), their images (G,) and faces (G, group)."""
        index = lax.dynamic_slice(cover.list, (i * CHUNK,), (CHUNK,))
        image = jnp.minimum(index // self.per_image, self.images - 1)
        nothing = self.images * self.num_faces
        return index, image, cover.face.at[index].get(mode="fill", fill_value=nothing)

    def factors(
        self, seen: jax.Array, x: jax.Array, y: jax.Array, basis: list[jax.Array] | None
    ) -> list[jax.Array]:
        """What the rows that pixels (G, group) see are multiplied by."""
        if self.terms == 1:
            return [jnp.ones_like(x)]
        return [x - seen[..., 0], y - seen[..., 1], jnp.ones_like(x)] if basis is None else basis

    def values(self, seen: jax.Array, m: list[jax.Array], affine: bool) -> list[jax.Array]:
        """The values of pixels (G, group), of what they see of the table; affine: the last factor is 1."""
        column = [seen[..., k] for k in range(2, seen.shape[-1])]
        if self.terms == 1:
            return column
        values = []
        for k in range(self.count):
            last = column[k + 2 * self.count]
            last = last if affine else last * m[2]
            values.append(column[k] * m[0] + column[k + self.count] * m[1] + last)
        return values

    def centres(
        self, index: jax.Array, image: jax.Array, dtype: DTypeLike
    ) -> tuple[jax.Array, jax.Array]:
        """x and y of the pixels of groups, (G, group) px."""
        start = (index - image * self.per_image) * self.group
        pixel = start[:, None] + jnp.arange(self.group, dtype=jnp.int32)
        _, width, slots = self.sides
        if slots > 1:
            pixel = pixel // slots
        y = pixel // width
        return (pixel - y * width).astype(dtype) + 0.5, y.astype(dtype) + 0.5

    def to_groups(self, values: jax.Array, fill: int = 0) -> jax.Array:
        """(N, H, W, P[, C]) as (groups, group[, C])."""
        channels = values.shape[4:]
        flat = values.reshape(self.images, -1, *channels)
        room = self.per_image * self.group - flat.shape[1]
        if room:
            flat = jnp.pad(
                flat, [(0, 0), (0, room)] + [(0, 0)] * len(channels), constant_values=fill
            )
        return flat.reshape(-1, self.group, *channels)

    def to_image(self, groups: jax.Array) -> jax.Array:
        """(groups, group[, C]) as (N, H, W, P[, C])."""
        channels = groups.shape[2:]
        flat = groups.reshape(self.images, -1, *channels)[:, : math.prod(self.sides)]
        return flat.reshape(self.images, *self.sides, *channels)
