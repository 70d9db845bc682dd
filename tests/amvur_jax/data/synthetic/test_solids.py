"""Boxes, cylinders and spheres: closed, outward, of the size asked for."""

import numpy as np
import pytest

from amvur_jax.data.synthetic.solids import KINDS, NUM_FACES, NUM_VERTICES, make_solid

HALF = np.array([0.03, 0.02, 0.05])
VOLUME = {"box": 8.0, "cylinder": 2 * np.pi, "sphere": 4 / 3 * np.pi}


@pytest.mark.parametrize("kind", KINDS)
def test_solids_enclose_their_volume_outward(kind):
    solid = make_solid(kind, HALF)
    assert solid.vertices.shape == (NUM_VERTICES, 3) and solid.faces.shape == (NUM_FACES, 3)
    a, b, c = np.moveaxis(solid.vertices[solid.faces], 1, 0)
    volume = np.sum(a * np.cross(b, c)) / 6  # positive if the faces wind outward
    assert volume == pytest.approx(VOLUME[kind] * HALF.prod(), rel=0.07)
    np.testing.assert_allclose(np.sum(np.cross(b - a, c - a), axis=0), 0, atol=1e-8)
    np.testing.assert_allclose(np.abs(solid.vertices).max(axis=0), HALF, rtol=0.02)


def test_corners_bound_the_solid():
    corners = make_solid("box", HALF).corners
    assert len(np.unique(corners, axis=0)) == 8
    np.testing.assert_allclose(np.abs(corners), np.tile(HALF, (8, 1)), rtol=1e-6)
