"""Backgrounds: pictures in range, of the size asked for, calm where they must be."""

import cv2
import numpy as np
import pytest

from amvur_jax.data.synthetic import textures

SIZE = (90, 130)


@pytest.mark.parametrize(
    "maker", [textures.gradient, textures.plaster, textures.wood, textures.checks]
)
def test_each_kind_is_a_picture_of_its_own(maker):
    first, second = (maker(np.random.default_rng(seed), SIZE) for seed in (0, 1))
    assert first.shape == (*SIZE, 3) and first.std(axis=(0, 1)).max() > 0.003
    assert np.abs(first - second).mean() > 0.01


def test_calm_surfaces_have_no_contours_and_clutter_has():
    def contours(picture):
        assert picture.dtype == np.float32 and picture.min() >= 0 and picture.max() <= 1
        return np.mean(np.abs(cv2.Laplacian(picture, cv2.CV_32F)) > 0.1)

    for seed in range(8):
        rng = np.random.default_rng(seed)
        wall = textures.surface(rng, SIZE, calm=True)
        assert contours(wall) < 0.001
        assert contours(textures.scatter(rng, wall, 6)) > 0.004
