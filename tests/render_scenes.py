"""Scenes that the rasterisers' tests share."""

import numpy as np

SIZE = (28, 36)  # no multiple of the tile
K = np.array([[30.0, 0, 17.0], [0, 33.0, 15.0], [0, 0, 1]], np.float32)


def soup(seed, num_faces, spread=0.8):
    """Random triangles, some beyond the image, some behind the camera: vertices, faces."""
    draws = np.random.default_rng(seed)
    centre = draws.uniform([-0.7, -0.6, 0.6], [0.7, 0.6, 2.0], (num_faces, 1, 3))
    corners = centre + spread * draws.uniform(-0.5, 0.5, (num_faces, 3, 3))
    vertices = corners.reshape(-1, 3).astype(np.float32)
    vertices[draws.random(len(vertices)) < 0.02, 2] *= -1
    return vertices, np.arange(3 * num_faces, dtype=np.int32).reshape(-1, 3)
