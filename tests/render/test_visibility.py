"""Visible vertices, and scenes of several meshes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import render

SIZE = (16, 16)
K = jnp.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]])
FACES = jnp.array([[0, 1, 2], [0, 2, 3]])


def square(half, depth, x=0.0):
    corners = [[-half, -half], [half, -half], [half, half], [-half, half]]
    return jnp.array([[x + a, b, depth] for a, b in corners], jnp.float32)


def test_a_hidden_mesh_is_invisible_and_a_wall_over_the_whole_image_is_not():
    """The published code loses a face where the mesh leaves no pixel of the image empty."""
    near, far = square(2.0, 1.0), square(0.2, 2.0)
    vertices, faces, _ = render.join_meshes(
        [(near, FACES, jnp.zeros((4, 3))), (far, FACES, jnp.zeros((4, 3)))]
    )
    fragments = render.rasterize(vertices, faces, K, SIZE)
    assert np.all(fragments.pix_to_face >= 0)
    visible = render.visible_vertices(fragments, faces, 8)
    np.testing.assert_array_equal(visible, [1, 1, 1, 1, 0, 0, 0, 0])


def test_visibility_is_per_image_and_takes_any_order_of_faces():
    vertices = jnp.stack([square(0.3, 1.0), square(0.3, -1.0)])
    fragments = render.rasterize(vertices, FACES, K, SIZE)
    visible = render.visible_vertices(fragments, FACES, 5)
    np.testing.assert_array_equal(visible, [[1, 1, 1, 1, 0], [0] * 5])


def test_visibility_has_no_gradient():
    def total(vertices):
        fragments = render.rasterize(vertices, FACES, K, SIZE)
        return jnp.sum(render.visible_vertices(fragments, FACES, 4) * 3.0)

    np.testing.assert_array_equal(jax.grad(total)(square(0.3, 1.0)), 0)


def test_joined_meshes_hide_each_other():
    red, blue = jnp.array([1.0, 0, 0]), jnp.array([0, 0, 1.0])
    scene = render.join_meshes(
        [
            (square(0.4, 1.0, x=-0.3), FACES, jnp.tile(red, (4, 1))),
            (jnp.stack([square(0.8, z) for z in (2.0, 0.5)]), FACES, jnp.tile(blue, (4, 1))),
        ]
    )
    assert scene[0].shape == (2, 8, 3) and scene[1].shape == (4, 3)
    image = render.render_mesh(*scene, K, SIZE, light=None)[0]
    np.testing.assert_allclose(image[0, 8, 3], red, atol=1e-6)
    np.testing.assert_allclose(image[0, 8, 13], blue, atol=1e-6)
    np.testing.assert_allclose(image[1, 8, 3], blue, atol=1e-6)


def test_no_mesh_is_an_error():
    with pytest.raises(ValueError, match="at least one mesh"):
        render.join_meshes([])
