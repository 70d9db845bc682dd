"""Which faces may touch which 8 x 8 tiles of the image, as one flat list of pairs.

The list is never stored: pair number n is decoded from the running count of tiles per face, so
that a face of any size and any number of faces are exact, without a capacity to overflow.
"""

import dataclasses

import jax
import jax.numpy as jnp

TILE = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TilePairs:
    """(face, tile) pairs of M faces; `grid` is the number of tiles down and across."""

    ends: jax.Array  # (M,) int32, running count of tiles up to and with each face
    first_row: jax.Array  # (M,) int32
    first_column: jax.Array  # (M,) int32
    columns: jax.Array  # (M,) int32, tiles across
    grid: tuple[int, int] = dataclasses.field(metadata={"static": True})

    @property
    def total(self) -> jax.Array:
        """Number of pairs, int32."""
        return self.ends[-1]

    def decode(self, number: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Face, tile row and tile column of pairs given by number (any shape, int32)."""
        face = jnp.searchsorted(self.ends, number, side="right")
        face = jnp.minimum(face, self.ends.shape[0] - 1).astype(jnp.int32)
        columns = self.columns[face]
        local = number - (self.ends[face] - (self._counts(face)))
        safe = jnp.maximum(columns, 1)
        return face, self.first_row[face] + local // safe, self.first_column[face] + local % safe

    def _counts(self, face):
        return self.ends[face] - jnp.where(face > 0, self.ends[jnp.maximum(face - 1, 0)], 0)


def tile_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """Tiles down and across that cover an image whose sides need be no multiple of TILE."""
    return -(-image_size[0] // TILE), -(-image_size[1] // TILE)


def tile_pairs(corners_px: jax.Array, drawn: jax.Array, image_size: tuple[int, int]) -> TilePairs:
    """Pairs of faces with the tiles that hold a pixel centre within their bounding box.

    Args:
      corners_px: (M, 3, 2) px.
      drawn: (M,) bool; other faces get no pair.
      image_size: (H, W).

    Returns:
      the TilePairs.
    """
    height, width = image_size
    limits = jnp.array([width, height], corners_px.dtype)
    finite = jnp.where(drawn[:, None, None], corners_px, 0.0)
    # Pixel j is touched if j + 0.5 lies in the box; the margin covers the rounding of the box.
    low = jnp.clip(jnp.ceil(jnp.min(finite, axis=1) - 0.501), 0.0, limits)
    high = jnp.clip(jnp.floor(jnp.max(finite, axis=1) - 0.499), -1.0, limits - 1.0)
    drawn = drawn & jnp.all(low <= high, axis=1)
    first = low.astype(jnp.int32) // TILE
    last = high.astype(jnp.int32) // TILE
    span = jnp.where(drawn[:, None], last - first + 1, 0)
    return TilePairs(
        ends=jnp.cumsum(span[:, 0] * span[:, 1]).astype(jnp.int32),
        first_row=first[:, 1],
        first_column=first[:, 0],
        columns=span[:, 0],
        grid=tile_grid(image_size),
    )
