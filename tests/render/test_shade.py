"""Normals, interpolation and Phong's light against their formulas, written out again in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import render

SIZE = (12, 20)
K = jnp.array([[20.0, 0, 10], [0, 20, 6], [0, 0, 1]])
# A wall at depth 1 that fills the image, facing the camera: its normals point to -z.
WALL = np.array([[-2, -2, 1], [2, -2, 1], [2, 2, 1], [-2, 2, 1]], np.float32)
WALL_FACES = np.array([[0, 2, 1], [0, 3, 2]], np.int32)


def wall(colors, light, vertices=WALL, **options):
    return render.render_mesh(
        jnp.asarray(vertices), jnp.asarray(WALL_FACES), colors, K, SIZE, light=light, **options
    )


def points_of_the_wall():
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    return np.stack([(x - 10) / 20, (y - 6) / 20, np.ones(SIZE)], axis=-1)


def unit(v):
    return v / np.linalg.norm(v, axis=-1, keepdims=True)


def test_vertex_normals_of_a_sphere_point_outward():
    angle, height = np.meshgrid(np.arange(16) * 2 * np.pi / 16, np.linspace(-0.9, 0.9, 9))
    radius = np.sqrt(1 - height**2)
    vertices = np.stack([radius * np.cos(angle), radius * np.sin(angle), height], -1)
    index = np.arange(9 * 16).reshape(9, 16)
    a, b, c, d = index[:-1], np.roll(index, -1, 1)[:-1], np.roll(index, -1, 1)[1:], index[1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    vertices = vertices.reshape(-1, 3)
    normals = render.vertex_normals(jnp.asarray(vertices, jnp.float32), jnp.asarray(faces))
    inner = slice(16, -16)
    assert np.all(np.sum(np.asarray(normals) * vertices, axis=-1)[inner] > 0.98)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=-1), 1, atol=1e-6)


def test_normals_are_weighted_by_area():
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])  # areas 1/2 and 3/2, normals +z and +x
    normals = render.vertex_normals(jnp.asarray(vertices), jnp.asarray(faces))
    np.testing.assert_allclose(normals[0], np.array([3, 0, 1]) / np.sqrt(10), atol=1e-6)


def test_light_follows_the_formula():
    position = np.array([0.3, -0.2, 0.2])
    colors = np.random.default_rng(0).random((4, 3)).astype(np.float32)
    light = render.PointLight(jnp.asarray(position), 0.4, 0.7, 0.25, 5.0)
    image, mask, fragments = wall(jnp.asarray(colors), light)
    assert mask.all()
    point = points_of_the_wall()
    normal = np.array([0, 0, -1.0])
    to_light = unit(position - point)
    cosine = to_light @ normal
    mirrored = 2 * cosine[..., None] * normal - to_light
    highlight = np.maximum(np.sum(mirrored * unit(-point), axis=-1), 0) ** 5
    assert highlight.max() > 0.9
    bary = np.asarray(fragments.bary_coords)[..., 0, :]
    corner_colors = colors[WALL_FACES[np.asarray(fragments.pix_to_face)[..., 0]]]
    unlit = np.einsum("hwk,hwkc->hwc", bary, corner_colors)
    expected = unlit * (0.4 + 0.7 * cosine)[..., None] + 0.25 * highlight[..., None]
    np.testing.assert_allclose(image, expected, atol=1e-5)
    np.testing.assert_allclose(wall(jnp.asarray(colors), None)[0], unlit, atol=1e-6)


def test_the_back_gets_only_ambient_light():
    image = wall(jnp.ones((4, 3)), render.PointLight((0.0, 0.0, 3.0), 0.4, 0.7, 0.5))[0]
    np.testing.assert_allclose(image, 0.4, atol=1e-6)


def test_each_image_has_its_own_light():
    positions = jnp.array([[0.0, 0, -2], [0.4, 0, 0.5]])
    light = render.PointLight(positions, diffuse=jnp.array([0.3, 0.6]))
    together = wall(jnp.ones((2, 4, 3)), light, np.stack([WALL, WALL]))[0]
    for i in range(2):
        alone = wall(jnp.ones((4, 3)), render.PointLight(positions[i], diffuse=0.3 + 0.3 * i))[0]
        np.testing.assert_allclose(together[i], alone, atol=1e-6)


@pytest.mark.parametrize("background", [0.25, jnp.array([0.1, 0.2, 0.3]), jnp.ones((*SIZE, 3))])
def test_background_shows_where_nothing_is(background):
    vertices = WALL * np.array([0.05, 0.05, 1], np.float32)
    image, mask, _ = wall(jnp.zeros((4, 3)), None, vertices, background=background)
    assert mask.any() and not mask.all()
    outside = np.asarray(jnp.broadcast_to(background, image.shape))
    np.testing.assert_array_equal(image, np.where(mask[..., None], 0, outside))


def test_gradients_are_finite_where_normals_and_rays_vanish():
    """Two faces back to back have normal 0; the light sits on the surface."""
    vertices = jnp.asarray(WALL)
    faces = jnp.array([[0, 1, 2], [0, 2, 1]])
    light = render.PointLight((0.025, 0.025, 1.0), specular=0.5)

    def total(vertices, colors):
        return jnp.sum(render.render_mesh(vertices, faces, colors, K, SIZE, light=light)[0])

    gradients = jax.grad(total, argnums=(0, 1))(vertices, jnp.ones((4, 3)))
    assert all(np.isfinite(g).all() for g in gradients)
    assert np.abs(gradients[1]).max() > 0


def test_any_number_of_channels():
    values = jnp.arange(20.0).reshape(4, 5)
    image, _, fragments = wall(values, None)
    assert image.shape == (*SIZE, 5)
    np.testing.assert_allclose(image[..., 3] - image[..., 0], 3, atol=1e-5)
    seen = render.interpolate(fragments, jnp.asarray(WALL_FACES), jnp.asarray(WALL))
    np.testing.assert_allclose(seen[..., 0, :], points_of_the_wall(), atol=1e-6)
