"""Which faces may touch which 8 x 8 blocks of the image, as one flat list of pairs.

The list is never stored: pair number n is decoded from the running count of blocks per face, so
that a face of any size and any number of faces are exact, without a capacity to overflow. The count
is an int32: where it could not hold all blocks for every face, the faces are counted in parts.

Blocks lie in strips, 8 px wide columns of the image, and may start at any row of their strip: a
buffer (strips, rows, 8) holds a block as 64 neighbours in memory.
"""

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

from render.counts import check_count

SIDE = 8  # px
# Pairs of a part of the faces, at most: half an int32, so that numbers beyond the end of it fit too.
MOST_PAIRS = 1 << 30
State = TypeVar("State")
# How blocks are written to and read from a buffer of strips, given their first rows in it.
BLOCK = jax.lax.ScatterDimensionNumbers((1, 2), (), (0,))
BLOCK_READ = jax.lax.GatherDimensionNumbers((1, 2), (), (0,))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BlockPairs:
    """(face, block) pairs of M faces, in the order of the faces; the last face has none."""

    ends: (
        jax.Array
    )  # (parts, faces) int32, running count of a part's blocks up to and with each face
    first_row: jax.Array  # (M,) int32, px
    first_strip: jax.Array  # (M,) int32
    strips: jax.Array  # (M,) int32, blocks across

    def walk(
        self,
        size: int,
        step: Callable[[jax.Array, jax.Array, jax.Array, State], State],
        state: State,
    ) -> State:
        """Go through all pairs, `size` at a time.

        Args:
          size: pairs of a step.
          step: (face, first row in px, strip, state) -> state, the first three (size,) int32. Places
            of a step without a pair hold the last face and a block of the image.
          state: the first step's.

        Returns:
          the last step's state.
        """

        def of_part(part: jax.Array | int, state: State) -> State:
            ends = self.ends[part]

            def of_chunk(i: jax.Array, state: State) -> State:
                number = i * size + jnp.arange(size, dtype=jnp.int32)
                return step(*self._decode(part, ends, number), state)

            return lax.fori_loop(0, (ends[-1] + size - 1) // size, of_chunk, state)

        parts = self.ends.shape[0]
        return of_part(0, state) if parts == 1 else lax.fori_loop(0, parts, of_part, state)

    def _decode(
        self, part: jax.Array | int, ends: jax.Array, number: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Face, first row (px) and strip of pairs given by their number in a part with these ends."""
        here = number < ends[-1]
        place = jnp.searchsorted(ends, number, side="right").astype(jnp.int32)
        last = self.strips.shape[0] - 1
        face = jnp.where(here, part * ends.shape[0] + place, last)
        before = jnp.where(place > 0, ends[jnp.maximum(place - 1, 0)], 0)
        strips = jnp.maximum(self.strips[face], 1)
        local = jnp.where(here, number - before, 0)
        return (
            face,
            self.first_row[face] + SIDE * (local // strips),
            self.first_strip[face] + local % strips,
        )


def strip_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """Strips across an image, and rows of a strip: whole blocks and one more, for those that start low."""
    return -(-image_size[1] // SIDE), (-(-image_size[0] // SIDE) + 1) * SIDE


def strip_rows(images: int, image_size: tuple[int, int]) -> int:
    """Rows of a buffer of strips of N images; ValueError if an int32 can't number them."""
    across, rows = strip_grid(image_size)
    check_count(images * across * rows, f"rows of {SIDE} pixels")
    return images * across * rows


def block_pairs(
    low: list[jax.Array],
    high: list[jax.Array],
    drawn: jax.Array,
    image_size: tuple[int, int],
    aligned: bool = False,
) -> BlockPairs:
    """Pairs of faces with the blocks that hold a pixel centre within their bounding box.

    Args:
      low, high: x and y (M,) of the box's corners, px.
      drawn: (M,) bool; other faces get no pair, and the last one must not be drawn.
      image_size: (H, W).
      aligned: blocks start at multiples of 8 rows.

    Returns:
      the BlockPairs.
    """
    first, last = [], []
    for a, b, limit in zip(low, high, (image_size[1], image_size[0])):
        # Pixel j is touched if j + 0.5 lies in the box; the margin covers the rounding of the box.
        start = jnp.clip(jnp.ceil(jnp.where(drawn, a, 0.0) - 0.501), 0, limit)
        end = jnp.clip(jnp.floor(jnp.where(drawn, b, 0.0) - 0.499), -1, limit - 1)
        drawn = drawn & (start <= end)
        first.append(start.astype(jnp.int32))
        last.append(end.astype(jnp.int32))
    strip = jnp.minimum(first[0], image_size[1] - 1) // SIDE
    row = jnp.minimum(first[1], image_size[0] - 1)
    if aligned:
        row = row // SIDE * SIDE
    across = jnp.where(drawn, last[0] // SIDE - strip + 1, 0)
    down = jnp.where(drawn, (last[1] - row) // SIDE + 1, 0)
    return BlockPairs(
        ends=_running_counts(across * down, image_size),
        first_row=row,
        first_strip=strip,
        strips=across,
    )


def _running_counts(blocks: jax.Array, image_size: tuple[int, int]) -> jax.Array:
    """Blocks (M,) of the faces added up, in parts so small that all blocks of all faces fit."""
    across, rows = strip_grid(image_size)
    most = max(MOST_PAIRS // (across * (rows // SIDE)), 1)
    parts = -(-blocks.shape[0] // most)
    room = parts * -(-blocks.shape[0] // parts) - blocks.shape[0]
    counts = jnp.pad(blocks, (0, room)).reshape(parts, -1)
    return jnp.cumsum(counts, axis=1, dtype=jnp.int32)


def to_image(strips: jax.Array, images: int, image_size: tuple[int, int]) -> jax.Array:
    """A buffer (N * strips * rows, 8) as images (N, H, W)."""
    across, rows = strip_grid(image_size)
    image = strips.reshape(images, across, rows, SIDE).transpose(0, 2, 1, 3)
    return image.reshape(images, rows, across * SIDE)[:, : image_size[0], : image_size[1]]


def to_strips(image: jax.Array) -> jax.Array:
    """Images (N, H, W) as a buffer (N * strips * rows, 8): the inverse of `to_image`, 0 beyond them."""
    across, rows = strip_grid((image.shape[1], image.shape[2]))
    room = ((0, 0), (0, rows - image.shape[1]), (0, across * SIDE - image.shape[2]))
    strips = jnp.pad(image, room).reshape(image.shape[0], rows, across, SIDE)
    return strips.transpose(0, 2, 1, 3).reshape(-1, SIDE)
