"""Tiles cover a picture, overlapping."""

import numpy as np
import pytest

from amvur_jax.detect.tiles import tiles


@pytest.mark.parametrize(("width", "height"), [(640, 480), (4000, 3000), (3000, 700), (385, 385)])
def test_each_tile_shares_half_with_the_next(width, height):
    image = np.arange(width * height).reshape(height, width, 1)
    sides = {}
    for tile, (x, y) in tiles(image):
        assert tile[0, 0, 0] == image[y, x, 0]
        sides.setdefault(max(tile.shape), []).append((x, y, *tile.shape[1::-1]))
    assert sides
    for side, found in sides.items():
        assert side >= 192
        # Any square of half a tile's side lies within one of them: tried at all of a grid.
        half = side // 2
        for left in np.linspace(0, width - half, 23):
            for top in np.linspace(0, max(height - half, 0), 23):
                inner = (left + half, min(top + half, height))
                assert any(
                    x <= left and y <= top and inner[0] <= x + w + 1 and inner[1] <= y + h + 1
                    for x, y, w, h in found
                )


def test_a_small_picture_has_none():
    assert not list(tiles(np.zeros((380, 380, 3), np.uint8)))
