"""The soft image in one pass is what the parts make one after the other, and so are its gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import render

SIZE, SIGMA, GAMMA, ZNEAR, ZFAR = (19, 23), 3e-3, 2e-2, 0.5, 4.0


def scene(seed, images=(2,)):
    """Overlapping triangles that fill the image, a camera an image, and a background of its own."""
    rng = np.random.default_rng(seed)
    vertices = rng.uniform([-0.5, -0.5, 1.0], [0.5, 0.5, 2.5], (*images, 24, 3))
    faces = rng.permuted(np.tile(np.arange(24), (2, 1)), axis=1).reshape(-1, 3)
    K = np.array([[22.0, 0, 11], [0, 24, 9], [0, 0, 1]]) + rng.uniform(
        0, 1, (*images, 1, 1)
    ) * np.eye(3)
    K[..., 2, 2] = 1
    values = vertices, rng.random((*images, 24, 3)), K, rng.random((*images, *SIZE, 3))
    return [jnp.asarray(value, jnp.float32) for value in values], jnp.asarray(faces)


def one_after_the_other(vertices, colors, K, background, faces, light, slots):
    options = render.SoftOptions(blur_radius=render.blur_radius(SIGMA))
    fragments = render.rasterize_soft(vertices, faces, K, SIZE, slots, options)
    shaded = render.shade(fragments, vertices, faces, colors, light)
    image = render.softmax_blend(shaded, fragments, SIGMA, GAMMA, background, ZNEAR, ZFAR)
    return image, render.alpha(fragments, SIGMA)


def in_one_pass(vertices, colors, K, background, faces, light, slots):
    image, alpha, fragments = render.render_soft(
        vertices, faces, colors, K, SIZE, light, background, SIGMA, GAMMA, slots, ZNEAR, ZFAR
    )
    assert fragments.zbuf.shape == (*image.shape[:-1], slots)
    return image, alpha


def both(arguments, faces, light, slots):
    """Image and alpha, and the gradients of a random sum of them, of either way."""
    rng = np.random.default_rng(9)
    weights = [rng.normal(size=(*arguments[3].shape[:-3], *SIZE, *rest)) for rest in ((3,), ())]

    def total(arguments, light, way):
        images = way(*arguments, faces, light, slots)
        return sum(jnp.sum(w * image) for w, image in zip(weights, images)), images

    differentiate = jax.value_and_grad(total, (0, 1), has_aux=True)
    found = [differentiate(arguments, light, way) for way in (one_after_the_other, in_one_pass)]
    return [(images, gradients) for (_, images), gradients in found]


def assert_same(found, atol=2e-6):
    (images, gradients), (ours, our_gradients) = found
    for a, b in zip(images, ours):
        np.testing.assert_allclose(b, a, atol=atol)
    for a, b in zip(*map(jax.tree.leaves, (gradients, our_gradients)), strict=True):
        np.testing.assert_allclose(b, a, rtol=2e-3, atol=2e-4 * float(jnp.abs(a).max() + 1e-6))


LIGHTS = {
    "none": None,
    "one": render.PointLight(),
    "an image": render.PointLight(
        jnp.array([[0.1, 0.2, -1.0], [-0.5, 0.0, -0.3]]),
        jnp.array([0.4, 0.6]),
        jnp.array([0.5, 0.2]),
        jnp.array([0.3, 0.1]),
        jnp.array([8.0, 20.0]),
    ),
}


@pytest.mark.parametrize(
    ("slots", "light"), [(1, "none"), (3, "an image"), (8, "one"), (20, "an image")]
)
def test_it_is_what_the_parts_make(slots, light):
    arguments, faces = scene(slots)
    assert_same(both(arguments, faces, LIGHTS[light], slots))


def test_cameras_alone_may_differ():
    (vertices, colors, K, background), faces = scene(5)
    assert_same(both([vertices[0], colors[0], K, background], faces, render.PointLight(), 4))


def test_no_images_and_no_leading_axes():
    arguments, faces = scene(6, images=())
    assert_same(both(arguments, faces, render.PointLight(), 4))
    arguments, faces = scene(7, images=(0,))
    image, alpha = in_one_pass(*arguments, faces, render.PointLight(), 4)
    assert image.shape == (0, *SIZE, 3) and alpha.shape == (0, *SIZE)


def test_under_vmap_as_in_a_batch():
    (vertices, colors, K, background), faces = scene(8)

    def total(vertices, colors, K, background):
        image, alpha = in_one_pass(vertices, colors, K, background, faces, render.PointLight(), 4)
        return jnp.sum(image * background) + jnp.sum(alpha)

    each = jax.vmap(jax.value_and_grad(total))(vertices, colors, K, background)
    batch = jax.value_and_grad(total)(vertices, colors, K, background)
    np.testing.assert_allclose(each[0].sum(), batch[0], rtol=1e-5)
    np.testing.assert_allclose(
        each[1], batch[1], rtol=1e-3, atol=1e-4 * float(jnp.abs(batch[1]).max())
    )


def test_what_is_kept_for_the_gradient_is_a_fraction_of_all_layers():
    arguments, faces = scene(3)

    def total(vertices, way):
        return jnp.sum(way(vertices, *arguments[1:], faces, render.PointLight(), 16)[0])

    held = [
        jax.jit(jax.grad(total), static_argnums=1)
        .lower(arguments[0], way)
        .compile()
        .memory_analysis()
        .temp_size_in_bytes
        for way in (in_one_pass, one_after_the_other)
    ]
    assert held[0] < held[1]
