"""Batches of no hands: what a batch of two gives, without the two."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import render

SIZE = (12, 20)
FACES = jnp.array([[0, 1, 2], [0, 2, 3], [0, 3, 4], [1, 2, 3]])
FUNCTIONS = {
    "rasterize": lambda v, c, K: render.rasterize(v, FACES, K, SIZE),
    "rasterize_soft": lambda v, c, K: render.rasterize_soft(v, FACES, K, SIZE, 3),
    "fragments_at": lambda v, c, K: render.fragments_at(
        v, FACES, K, SIZE, jnp.zeros((2, 3), jnp.int32), jnp.ones((2, 3)), jnp.ones((2, 3))
    ),
    "silhouette": lambda v, c, K: render.silhouette(v, FACES, K, SIZE),
    "render_mesh": lambda v, c, K: render.render_mesh(v, FACES, c, K, SIZE),
    "render_mesh unlit": lambda v, c, K: render.render_mesh(
        v, FACES, c, K, SIZE, None, jnp.arange(4.0)
    ),
    "render_soft": lambda v, c, K: render.render_soft(v, FACES, c, K, SIZE, faces_per_pixel=3),
    "depth_map": lambda v, c, K: render.depth_map(v, FACES, K, SIZE),
    "normal_map": lambda v, c, K: render.normal_map(v, FACES, K, SIZE),
    "visible_vertices": lambda v, c, K: render.visible_vertices(
        render.rasterize(v, FACES, K, SIZE), FACES, 5
    ),
    "faces of each": lambda v, c, K: render.render_mesh(
        v, jnp.broadcast_to(FACES, (*v.shape[:-2], 4, 3)), c, K, SIZE
    ),
    "vertex_normals": lambda v, c, K: render.vertex_normals(v, FACES),
}


def scene(*batch):
    K = jnp.array([[16.0, 0, 8], [0, 16, 8], [0, 0, 1]])
    return jnp.ones((*batch, 5, 3)), jnp.ones((*batch, 5, 4)), jnp.broadcast_to(K, (*batch, 3, 3))


@pytest.mark.parametrize("batch", [(0,), (3, 0)])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_batch_of_no_hands_is_empty(name, batch):
    function, inputs = FUNCTIONS[name], scene(*batch)
    two = jax.eval_shape(function, *scene(2))

    def shapes(outputs, cut):
        return [(a.shape[cut:], a.dtype) for a in jax.tree.leaves(outputs)]

    def total(*inputs):
        outputs = function(*inputs)
        return sum(jnp.sum(a.astype(jnp.float32)) for a in jax.tree.leaves(outputs)), outputs

    both = jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)
    (value, outputs), gradients = jax.jit(both)(*inputs)
    for result in (outputs, function(*inputs), jax.jit(function)(*inputs)):
        assert all(a.shape[: len(batch)] == batch for a in jax.tree.leaves(result))
        assert shapes(result, len(batch)) == shapes(two, 1)
    assert value == 0
    assert [g.shape for g in gradients] == [a.shape for a in inputs]


def test_no_hands_beside_one_camera_and_one_set_of_colours():
    vertices, (_, colors, K) = scene(0)[0], scene()
    image, _, _ = render.render_mesh(vertices, FACES, colors, K, SIZE)
    assert image.shape == (0, *SIZE, 4)
    gradient = jax.grad(lambda K: jnp.sum(render.silhouette(vertices, FACES, K, SIZE)))(K)
    np.testing.assert_array_equal(gradient, np.zeros((3, 3)))
