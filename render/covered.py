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

from render.counts import check_count

GROUP = 16  # neighbours in memory; most of a silhouette's groups are full
CHUNK = 128  # groups; a chunk's arrays stay in the processor's cache
# (values, x, y, image_values) -> channels, as of `map_covered`.
PixelFunction = Callable[
    [list[jax.Array], jax.Array, jax.Array, list[jax.Array]], Sequence[jax.Array]
]
_IN_BOUNDS = "promise_in_bounds"


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
    shape = _Shape(rows.shape[0], (height, width, slots), *rows.shape[1:])
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
    shape: "_Shape",
    spare: tuple[float, ...],
    *inputs: Any,
) -> list[jax.Array]:
    return _forward(function, empty, shape, spare, *inputs)[0]


def _forward(
    function: PixelFunction,
    empty: tuple[tuple[float, ...], ...],
    shape: "_Shape",
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
        x, y = _take(centres, index) if centres else shape.centres(index, image, table.dtype)
        values, _ = shape.values(table, face, x, y, basis and _take(basis, index))
        channels = iter(function(values, x, y, [v[:, None] for v in _take(image_values, image)]))
        drawn = face < table.shape[0] - 1
        for output, nothing in zip(outputs, empty):
            for k, value in enumerate(nothing):
                shown = jnp.where(drawn, next(channels), value)
                output[0] = output[0].at[index, :, k].set(shown, mode="drop")
        return outputs

    outputs = [
        [jnp.broadcast_to(jnp.array(value, table.dtype), (shape.groups, GROUP, len(value)))]
        for value in empty
    ]
    outputs = lax.fori_loop(0, cover.chunks, chunk, outputs)
    images = [shape.to_image(output) for (output,) in outputs]
    return images, (cover, table, origins, basis, centres, image_values)


def _backward(
    function: PixelFunction,
    empty: tuple[tuple[float, ...], ...],
    shape: "_Shape",
    spare: tuple[float, ...],
    residual: tuple[Any, ...],
    cotangents: list[jax.Array],
) -> tuple[Any, ...]:
    cover, table, origins, basis, centres, image_values = residual
    cotangents = [shape.to_groups(cotangent) for cotangent in cotangents]

    # Three chunks are on their way at a time: one sees its faces, one has its values' gradients
    # computed, one has them added to its faces. The loop carries what the next stage needs, or
    # XLA's CPU backend would compute it anew for each of its readers.
    def see(i: jax.Array) -> dict[str, Any]:
        index, image, face = shape.chunk(cover, i)
        x, y = _take(centres, index) if centres else shape.centres(index, image, table.dtype)
        values, m = shape.values(table, face, x, y, basis and _take(basis, index))
        return {
            "index": index,
            "image": image,
            "face": face,
            "x": x,
            "y": y,
            "m": m,
            "values": values,
        }

    def pull(
        seen: dict[str, Any], to_images: list[jax.Array]
    ) -> tuple[dict[str, Any], list[jax.Array]]:
        drawn = seen["face"] < table.shape[0] - 1
        given = [
            jnp.where(drawn, cotangent.at[seen["index"], :, k].get(mode="clip"), 0.0)
            for cotangent in cotangents
            for k in range(cotangent.shape[-1])
        ]
        of_image = [v[:, None] for v in _take(image_values, seen["image"])]
        _, pullback = jax.vjp(
            lambda v, w: function(v, seen["x"], seen["y"], w), seen["values"], of_image
        )
        gradients, of_image = pullback(given)
        to_images = [
            total.at[seen["image"]].add(jnp.sum(g, axis=1), mode=_IN_BOUNDS)
            for total, g in zip(to_images, of_image)
        ]
        return {k: seen[k] for k in ("index", "face", "m")} | {"gradients": gradients}, to_images

    def add(
        pulled: dict[str, Any], to_rows: jax.Array, to_basis: list[jax.Array] | None
    ) -> tuple[jax.Array, list[jax.Array] | None]:
        face, m, gradients = pulled["face"], pulled["m"], pulled["gradients"]
        if to_basis is not None:
            seen = table.at[face].get(mode=_IN_BOUNDS)
            to_basis = [
                total.at[pulled["index"]].set(
                    sum(g * seen[..., 2 + k * shape.count + j] for j, g in enumerate(gradients)),
                    mode="drop",
                )
                for k, total in enumerate(to_basis)
            ]
        g = jnp.stack(gradients).reshape(shape.count, -1).T
        m = jnp.stack([jnp.broadcast_to(part, face.shape) for part in m]).reshape(shape.terms, -1).T
        outer = m[:, :, None] * g[:, None, :]
        return to_rows.at[face.reshape(-1)].add(outer, mode=_IN_BOUNDS), to_basis

    def step(i: jax.Array, state: tuple[Any, ...]) -> tuple[Any, ...]:
        seen, pulled, to_rows, to_basis, to_images = state
        to_rows, to_basis = add(pulled, to_rows, to_basis)
        pulled, to_images = pull(seen, to_images)
        return see(i), pulled, to_rows, to_basis, to_images

    zeros = functools.partial(jax.tree.map, lambda a: jnp.zeros(a.shape, a.dtype))
    to_images = zeros(image_values)
    start = see(cover.chunks + 2)  # a chunk of nobody
    state = (
        start,
        pull(start, to_images)[0],
        jnp.zeros((table.shape[0], shape.terms, shape.count), table.dtype),
        basis and zeros(basis),
        to_images,
    )
    *_, to_rows, to_basis, to_images = lax.fori_loop(0, cover.chunks + 2, step, state)
    to_basis = basis and [shape.to_image(b) for b in to_basis]
    to_rows = to_rows[:-1].reshape(shape.images, shape.num_faces, shape.terms, shape.count)
    to_origins = None if origins is None else jnp.zeros_like(origins)
    return None, to_rows, to_origins, to_basis, centres and [None, None], to_images


_map_covered.defvjp(_forward, _backward)


def _take(arrays: Sequence[jax.Array], index: jax.Array) -> list[jax.Array]:
    return [a.at[index].get(mode="clip") for a in arrays]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Cover:
    """The faces of all groups, the list of the groups that show one, and its length in chunks."""

    face: jax.Array  # (groups, GROUP), in the table of all images
    list: jax.Array
    chunks: jax.Array


@dataclasses.dataclass(frozen=True)
class _Shape:
    """How the pixels of N images (H, W, P) form groups (number `groups` is nobody's), and the rows."""

    images: int
    sides: tuple[int, int, int]
    num_faces: int
    terms: int
    count: int

    @property
    def per_image(self) -> int:
        return -(-math.prod(self.sides) // GROUP)

    @property
    def groups(self) -> int:
        return self.images * self.per_image

    @property
    def room(self) -> int:
        """Length of a list of groups that chunks of nobody may follow."""
        return (-(-self.groups // CHUNK) + 3) * CHUNK

    def check(self) -> None:
        """ValueError if an int32 can't number an image's pixels and slots, or all groups."""
        check_count((self.per_image + 1) * GROUP, "places for a face (pixels x slots) of an image")
        check_count(self.room, f"groups of {GROUP} places for a face")

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

    def cover(self, pix_to_face: jax.Array) -> _Cover:
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
        return _Cover(face, listed, (place[-1] + CHUNK - 1) // CHUNK)

    def chunk(self, cover: _Cover, i: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Groups (G,), their images (G,) and faces (G, GROUP)."""
        index = lax.dynamic_slice(cover.list, (i * CHUNK,), (CHUNK,))
        image = jnp.minimum(index // self.per_image, self.images - 1)
        nothing = self.images * self.num_faces
        return index, image, cover.face.at[index].get(mode="fill", fill_value=nothing)

    def values(
        self,
        table: jax.Array,
        face: jax.Array,
        x: jax.Array,
        y: jax.Array,
        basis: list[jax.Array] | None,
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        """The values of pixels (G, GROUP), and what the rows were multiplied by."""
        seen = table.at[face].get(mode=_IN_BOUNDS)
        column = [seen[..., k] for k in range(table.shape[1])]
        if self.terms == 1:
            return column[2:], [jnp.ones_like(x)]
        m = [x - column[0], y - column[1]] if basis is None else basis
        values = []
        for k in range(2, 2 + self.count):
            last = column[k + 2 * self.count]
            last = last if basis is None else last * m[2]
            values.append(column[k] * m[0] + column[k + self.count] * m[1] + last)
        return values, m if basis is not None else [*m, jnp.ones_like(x)]

    def centres(
        self, index: jax.Array, image: jax.Array, dtype: DTypeLike
    ) -> tuple[jax.Array, jax.Array]:
        """x and y of the pixels of groups, (G, GROUP) px."""
        start = (index - image * self.per_image) * GROUP
        pixel = start[:, None] + jnp.arange(GROUP, dtype=jnp.int32)
        _, width, slots = self.sides
        if slots > 1:
            pixel = pixel // slots
        y = pixel // width
        return (pixel - y * width).astype(dtype) + 0.5, y.astype(dtype) + 0.5

    def to_groups(self, values: jax.Array, fill: int = 0) -> jax.Array:
        """(N, H, W, P[, C]) as (groups, GROUP[, C])."""
        channels = values.shape[4:]
        flat = values.reshape(self.images, -1, *channels)
        room = self.per_image * GROUP - flat.shape[1]
        if room:
            flat = jnp.pad(
                flat, [(0, 0), (0, room)] + [(0, 0)] * len(channels), constant_values=fill
            )
        return flat.reshape(-1, GROUP, *channels)

    def to_image(self, groups: jax.Array) -> jax.Array:
        """(groups, GROUP[, C]) as (N, H, W, P[, C])."""
        channels = groups.shape[2:]
        flat = groups.reshape(self.images, -1, *channels)[:, : math.prod(self.sides)]
        return flat.reshape(self.images, *self.sides, *channels)
