"""The rasteriser against a float64 oracle and against the laws of a z-buffer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from render_scenes import SIZE, K, is_placed, soup

import render
from render import oracle

# Integer geometry whose pixel coordinates float32 holds exactly: z = 1, focal 1, centre 0.
UNIT_K = np.eye(3, dtype=np.float32)


def rasterize(vertices, faces, K=K, size=SIZE):
    fragments = render.rasterize(jnp.asarray(vertices), jnp.asarray(faces), jnp.asarray(K), size)
    return jax.tree.map(np.asarray, fragments)


def assert_equal_to_oracle(fragments, truth, sure):
    assert np.any(truth.pix_to_face[sure] >= 0)
    np.testing.assert_array_equal(fragments.pix_to_face[sure], truth.pix_to_face[sure])
    np.testing.assert_allclose(fragments.zbuf[sure], truth.zbuf[sure], rtol=1e-4)
    np.testing.assert_allclose(fragments.bary_coords[sure], truth.bary_coords[sure], atol=2e-3)
    np.testing.assert_allclose(fragments.dists[sure], truth.dists[sure], rtol=1e-6, atol=1e-5)


@given(seed=st.integers(0, 2**31), spread=st.sampled_from([0.1, 0.8, 3.0]))
@example(seed=50940397, spread=3.0)  # a face seen nearly from its edge: depth to 4e-5
@example(seed=42335, spread=3.0)  # a vertex 0.07 mm before the camera, 900,000 px from the centre
@example(seed=59147199, spread=3.0)  # squared distances of 50: three steps of float32
@example(seed=19511, spread=3.0)  # an outline 0.0015 px from a centre, of a corner at 37,000 px
def test_random_triangles_equal_the_oracle(seed, spread):
    vertices, faces = soup(seed, 40, spread)
    truth = oracle.rasterize(vertices, faces, K, SIZE)
    assert truth.doubtful.mean() < 0.2
    placed = np.append(is_placed(vertices, faces), True)[truth.pix_to_face[..., 0]]
    assert_equal_to_oracle(rasterize(vertices, faces), truth, placed & ~truth.doubtful)


def test_more_faces_than_eleven_bits_equal_the_oracle():
    vertices, faces = soup(5, 5000, 0.1)
    truth = oracle.rasterize(vertices, faces, K, SIZE, doubt_px=1e-4)
    fragments = rasterize(vertices, faces)
    assert fragments.pix_to_face.max() > 2048
    sure = ~truth.doubtful
    assert sure.mean() > 0.8
    np.testing.assert_array_equal(fragments.pix_to_face[sure], truth.pix_to_face[sure])


def test_batch_of_meshes_faces_and_cameras_equals_one_by_one():
    scenes = [soup(seed, 30) for seed in range(4)]
    vertices = np.stack([v for v, _ in scenes]).reshape(2, 2, -1, 3)
    faces = np.stack([np.roll(scenes[0][1], i, axis=0) for i in range(4)]).reshape(2, 2, -1, 3)
    cameras = np.stack([K + np.float32(i) * UNIT_K for i in range(2)])
    cameras[:, 2, 2] = 1
    together = rasterize(vertices, faces, cameras[:, None])
    assert together.bary_coords.shape == (2, 2, *SIZE, 1, 3)
    for i in range(2):
        for j in range(2):
            alone = rasterize(vertices[i, j], faces[i, j], cameras[i])
            np.testing.assert_array_equal(together.pix_to_face[i, j], alone.pix_to_face)
            np.testing.assert_allclose(together.zbuf[i, j], alone.zbuf, rtol=1e-6)


@given(seed=st.integers(0, 2**31))
def test_no_hole_where_edges_and_vertices_pass_through_pixel_centres(seed):
    """A fan over a square of half-integer points, all of them pixel centres, is watertight."""
    draws = np.random.default_rng(seed)
    side = 6
    grid = np.stack(np.meshgrid(np.arange(side + 1), np.arange(side + 1)), axis=-1) * 4.0 + 2.5
    grid[1:-1, 1:-1] += draws.integers(-1, 2, (side - 1, side - 1, 2))
    vertices = np.concatenate([grid, np.ones((side + 1, side + 1, 1))], axis=-1).reshape(-1, 3)
    index = np.arange((side + 1) ** 2).reshape(side + 1, side + 1)
    a, b, c, d = (
        part.reshape(-1)
        for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    flip = draws.random(side * side) < 0.5
    faces = np.concatenate(
        [
            np.stack([a, b, np.where(flip, c, d)], axis=-1),
            np.stack([np.where(flip, a, b), c, d], axis=-1),
        ]
    )
    order = draws.permutation(len(faces))
    fragments = rasterize(vertices.astype(np.float32), faces[order], UNIT_K, (30, 30))
    covered = fragments.pix_to_face[..., 0] >= 0
    expected = np.zeros((30, 30), bool)
    expected[2:27, 2:27] = True  # centres 2.5 ... 26.5, the outline among them
    np.testing.assert_array_equal(covered, expected)


@given(seed=st.integers(0, 2**31))
def test_a_closed_surface_seen_from_inside_or_out_has_no_hole(seed):
    """An octahedron-like fan of many thin triangles around one vertex, at any place."""
    draws = np.random.default_rng(seed)
    count = 60
    angle = np.sort(draws.uniform(0, 2 * np.pi, count))
    angle = np.where(np.diff(angle, append=angle[0] + 2 * np.pi) > 3, angle + 0.1, angle)
    rim = np.stack([np.cos(angle), np.sin(angle), np.ones(count)], axis=-1) * [2, 2, 1]
    hub = np.append(draws.uniform(-0.2, 0.2, 2), 1.0)
    vertices = np.concatenate([[hub], rim]).astype(np.float32)
    around = np.arange(count) + 1
    faces = np.stack([np.zeros(count, int), around, np.roll(around, -1)], axis=-1)
    assert np.all(rasterize(vertices, faces).pix_to_face >= 0)


def test_equal_depths_go_to_the_lowest_face():
    vertices, _ = soup(3, 1)
    vertices[:, 2] = np.abs(vertices[:, 2])
    faces = np.array([[0, 1, 2], [2, 1, 0], [1, 2, 0]])
    drawn = rasterize(vertices, faces).pix_to_face
    assert np.any(drawn == 0) and not np.any(drawn > 0)


@pytest.mark.parametrize(
    "vertices",
    [
        pytest.param([[0, 0, 1], [0.1, 0.1, 1], [0.2, 0.2, 1]], id="collinear"),
        pytest.param([[0, 0, 1], [0, 0, 1], [0.2, 0.1, 1]], id="two equal vertices"),
        pytest.param([[0.1, 0.1, 1]] * 3, id="a point"),
        pytest.param([[0, 0, 1], [0.1, 0, 2], [0.05, 0, 3]], id="edge-on"),
        pytest.param([[-1, -1, -1], [1, -1, -1], [0, 1, -1]], id="behind the camera"),
        pytest.param([[-1, -1, 1], [1, -1, 1], [0, 1, -1]], id="crossing the camera plane"),
        pytest.param([[-1, -1, 1], [1, -1, 1], [0, 1, 0]], id="touching the camera plane"),
        pytest.param([[-1, -1, 1], [1, -1, 1], [0, np.nan, 1]], id="nan"),
        pytest.param([[-1, -1, 1], [1, -1, 1], [0, np.inf, 1]], id="infinite"),
        pytest.param([[9, 9, 1], [10, 9, 1], [9, 10, 1]], id="outside the image"),
    ],
)
def test_faces_that_are_drawn_nowhere(vertices):
    vertices = jnp.array(vertices, jnp.float32)
    faces = jnp.array([[0, 1, 2]])

    def loss(vertices, K):
        fragments = render.rasterize(vertices, faces, K, SIZE)
        return jnp.sum(fragments.zbuf + fragments.dists), fragments

    gradients, fragments = jax.grad(loss, argnums=(0, 1), has_aux=True)(vertices, jnp.asarray(K))
    assert not fragments.mask.any()
    assert np.all(np.asarray(fragments.zbuf) == -1)
    if np.isfinite(vertices).all():
        assert all(np.all(np.asarray(g) == 0) for g in gradients)


def test_a_face_far_wider_than_the_image_covers_it():
    vertices = np.array([[-3e3, -3e3, 1], [9e3, -3e3, 2], [0, 9e3, 3]], np.float32)
    truth = oracle.rasterize(vertices, [[0, 1, 2]], K, SIZE)
    fragments = rasterize(vertices, [[0, 1, 2]])
    assert np.all(fragments.pix_to_face == 0)
    np.testing.assert_allclose(fragments.zbuf, truth.zbuf, rtol=1e-4)


@pytest.mark.parametrize("faces", [np.zeros((0, 3), np.int32), np.zeros((2, 3), np.int32)])
def test_a_scene_of_nothing_is_empty(faces):
    fragments = rasterize(np.zeros((3, 3), np.float32), faces)
    assert np.all(fragments.pix_to_face == -1)


@pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 7), (3, 50)])
def test_any_image_size(size):
    vertices, faces = soup(12, 30)
    truth = oracle.rasterize(vertices, faces, K, size)
    assert_equal_to_oracle(rasterize(vertices, faces, K, size), truth, ~truth.doubtful)


def test_gradients_equal_finite_differences_of_the_oracle():
    vertices, faces = soup(7, 12)
    vertices[:, 2] = np.abs(vertices[:, 2])
    truth = oracle.rasterize(vertices, faces, K, SIZE, doubt_px=0.05, doubt_depth=1e-3)
    draws = np.random.default_rng(0)
    sure = (~truth.doubtful)[..., None] & (truth.pix_to_face >= 0)
    weights = [draws.standard_normal(a.shape) for a in (truth.zbuf, truth.bary_coords, truth.dists)]

    def loss(fragments, xp):
        return xp.sum(
            sure
            * (
                fragments.zbuf * weights[0]
                + xp.sum(fragments.bary_coords * weights[1], axis=-1)
                + fragments.dists * weights[2]
            )
        )

    gradients = jax.grad(
        lambda v, k: loss(render.rasterize(v, jnp.asarray(faces), k, SIZE), jnp), argnums=(0, 1)
    )(jnp.asarray(vertices), jnp.asarray(K))
    step = 1e-6
    for argument, gradient in enumerate(gradients):
        scale = np.abs(gradient).max()
        assert scale > 1
        for index in list(np.ndindex(gradient.shape))[:: 1 + 2 * (argument == 0)]:
            values = []
            for sign in (1, -1):
                inputs = [vertices.astype(np.float64), K.astype(np.float64)]
                inputs[argument][index] += sign * step
                moved = oracle.rasterize(inputs[0], faces, inputs[1], SIZE)
                np.testing.assert_array_equal(moved.pix_to_face[sure], truth.pix_to_face[sure])
                values.append(loss(moved, np))
            difference = (values[0] - values[1]) / (2 * step)
            if argument == 1 and index[0] == 2:
                continue  # the last row of K is constant by definition
            np.testing.assert_allclose(gradient[index], difference, rtol=1e-2, atol=1e-3 * scale)


def test_empty_pixels_give_no_gradient():
    vertices, faces = soup(9, 10)
    truth = rasterize(vertices, faces)
    empty = truth.pix_to_face < 0
    assert empty.any() and not empty.all()

    def loss(v):
        fragments = render.rasterize(v, jnp.asarray(faces), jnp.asarray(K), SIZE)
        bary = jnp.sum(fragments.bary_coords, axis=-1)
        return jnp.sum(jnp.where(empty, fragments.zbuf + fragments.dists + bary, 0.0))

    assert np.all(np.asarray(jax.grad(loss)(jnp.asarray(vertices))) == 0)


def test_under_vmap_as_in_a_batch():
    vertices = np.stack([soup(seed, 20)[0] for seed in range(3)])
    faces = soup(0, 20)[1]
    mapped = jax.vmap(lambda v: render.rasterize(v, jnp.asarray(faces), jnp.asarray(K), SIZE))
    np.testing.assert_array_equal(
        mapped(jnp.asarray(vertices)).pix_to_face, rasterize(vertices, faces).pix_to_face
    )


def test_fragments_at_chosen_points_are_those_of_the_image():
    vertices, faces = soup(4, 20)
    image = rasterize(vertices, faces)
    row, column = np.nonzero(np.ones(SIZE))
    row, column = row[::7][None], column[::7][None]
    chosen = render.fragments_at(
        jnp.asarray(vertices),
        jnp.asarray(faces),
        jnp.asarray(K),
        SIZE,
        jnp.asarray(image.pix_to_face[row, column, 0]),
        jnp.asarray(column + 0.5),
        jnp.asarray(row + 0.5),
    )
    assert 0 < np.sum(chosen.mask) < chosen.mask.size
    for name in ("pix_to_face", "zbuf", "bary_coords", "dists"):
        expected = getattr(image, name)[row, column]
        np.testing.assert_allclose(getattr(chosen, name), expected, atol=1e-6, err_msg=name)


def test_more_faces_than_sixteen_bits_equal_the_oracle():
    """A far field of 66,000 tiny faces behind one near triangle, which has the highest index."""
    side = 184
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), axis=-1).reshape(-1, 2)
    field = (grid / (side - 1) - 0.5) * 3
    index = np.arange(side * side).reshape(side, side)
    a, b, c, d = (
        p.ravel() for p in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1])
    )
    near = np.array([[-0.2, -0.2, 0.5], [0.3, -0.1, 0.6], [0.0, 0.3, 0.5]])
    vertices = np.concatenate([np.insert(field, 2, 2.0, axis=1), near]).astype(np.float32)
    faces = np.concatenate(
        [np.stack([a, b, c], -1), np.stack([a, c, d], -1), [[len(field) + i for i in range(3)]]]
    )
    assert len(faces) > 65_536
    drawn = rasterize(vertices, faces)
    # Only faces near the image's pixels can win: the oracle gets the near one and a sample of the field.
    won = np.unique(drawn.pix_to_face)
    assert won.min() >= 0 and won.max() == len(faces) - 1
    truth = oracle.rasterize(vertices, faces[won], K, SIZE, doubt_px=1e-4)
    sure = ~truth.doubtful
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(drawn.pix_to_face[sure], won[truth.pix_to_face[sure]])


def test_depth_and_normal_maps_of_a_tilted_wall():
    """z = 1 + x / 2 over the whole image: the ray (u, v, 1) meets it at 1 / (1 - u / 2)."""
    x, y = np.meshgrid([-0.9, 1.5], [-4.0, 4.0])
    vertices = np.stack([x, y, 1 + x / 2], axis=-1).reshape(-1, 3).astype(np.float32)
    faces = np.array([[0, 1, 3], [0, 3, 2]])
    view = jnp.asarray(vertices), jnp.asarray(faces), jnp.asarray(K), SIZE
    column = (np.arange(SIZE[1]) + 0.5 - K[0, 2]) / K[0, 0]
    depth = np.broadcast_to(1 / (1 - column / 2), SIZE)
    np.testing.assert_allclose(render.depth_map(*view), depth, rtol=1e-5)
    normal = np.array([-0.5, 0, 1]) / np.sqrt(1.25)
    np.testing.assert_allclose(
        render.normal_map(*view), np.broadcast_to(normal, (*SIZE, 3)), atol=1e-5
    )
    nothing = render.depth_map(view[0] - jnp.array([0, 0, 9.0]), *view[1:])
    assert np.all(np.isinf(nothing))
