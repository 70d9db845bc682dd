"""Overlapping square tiles of a picture, in which small hands are large enough for the palm network."""

import math
from collections.abc import Iterator

import numpy as np

from amvur_jax.detect.networks import PALMS

# A part of a picture: a view of its pixels, and its corner (2,) x, y px.
Part = tuple[np.ndarray, np.ndarray]

# Tiles of these shares of the picture's longer side, none smaller than the network's input.
_SHARES = (1 / 2, 1 / 4)


def tiles(image: np.ndarray) -> Iterator[Part]:
    """Cut a picture into tiles that overlap by half.

    Args:
      image: (H, W, 3) uint8.

    Yields:
      the tiles.
    """
    height, width = image.shape[:2]
    for share in _SHARES:
        side = math.ceil(max(height, width) * share)
        if side < PALMS.side:
            return
        for y in _starts(height, side):
            for x in _starts(width, side):
                yield image[y : y + side, x : x + side], np.array([x, y])


def _starts(length: int, side: int) -> list[int]:
    """Where tiles begin along a length: evenly, each over half of the one before at least."""
    if side >= length:
        return [0]
    count = math.ceil((length - side) / (side / 2)) + 1
    return [round(i * (length - side) / (count - 1)) for i in range(count)]
