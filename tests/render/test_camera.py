"""Pixel centres, projection and the weak-perspective camera."""

import jax
import jax.numpy as jnp
import numpy as np

import render


def test_pixel_centres_are_at_half_integers():
    x, y = render.pixel_centres((2, 3))
    np.testing.assert_array_equal(x, [0.5, 1.5, 2.5])
    np.testing.assert_array_equal(y, [0.5, 1.5])


def test_a_tiny_triangle_lands_on_the_pixel_that_holds_it():
    K = jnp.array([[50.0, 0, 8], [0, 50, 6], [0, 0, 1]])
    centre = (np.array([11.5, 2.5]) - [8, 6]) / 50  # column 11, row 2; x right, y down
    offsets = 1e-3 * np.array([[-1, -1], [1, -1], [0, 1]])
    vertices = np.concatenate([centre + offsets, np.ones((3, 1))], axis=-1) * 0.7
    fragments = render.rasterize(jnp.asarray(vertices), jnp.array([[0, 1, 2]]), K, (12, 16))
    np.testing.assert_array_equal(np.argwhere(fragments.pix_to_face[..., 0] >= 0), [[2, 11]])


def test_projection_and_its_gradient_behind_the_camera():
    K = jnp.array([[500.0, 2, 320], [0, 480, 240], [0, 0, 1]])
    points = jnp.array([[0.1, -0.2, 0.5], [0.1, 0.1, 0.0], [0.1, 0.1, -1.0]])
    pixels = render.project(points, K)
    np.testing.assert_allclose(pixels[0], [320 + 100 - 0.8, 240 - 192], atol=1e-4)
    gradient = jax.grad(lambda p: jnp.sum(render.project(p, K)))(points)
    assert np.isfinite(pixels).all() and np.isfinite(gradient).all()


def test_weak_perspective_camera_agrees_with_the_weak_projection():
    """2D = |scale| (X_xy + shift) in [-1, 1] of the image, for points near the mesh's origin."""
    camera = jnp.array([[6.0, 0.02, -0.01], [-8.0, -0.03, 0.05]])
    points = jnp.array([[0.01, 0.02, 0.0], [-0.05, 0.04, 0.0], [0.0, 0.0, 0.0]])
    K, translation = render.weak_perspective_camera(camera, (224, 224))
    pixels = render.project(points + translation[:, None], K)
    weak = jnp.abs(camera[:, None, :1]) * (points[:, :2] + camera[:, None, 1:])
    np.testing.assert_allclose(pixels, 112 * (1 + weak), atol=1e-3)
    np.testing.assert_allclose(translation[:, 2], [2000 / (224 * 6), 2000 / (224 * 8)], rtol=1e-6)
    assert K.shape == (2, 3, 3)
