"""Soft rasterisation and silhouettes: float64 oracles, recorded PyTorch3D numbers, laws."""

import functools
import pathlib
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from render_scenes import SIZE, K, is_placed, soup

import render
from render import oracle

DATA = pathlib.Path(__file__).parents[1] / "recorded"
FLIP = np.array([-1, -1, 1], np.float32)  # PyTorch3D: x left, y up, z forward
SIGMA, SLOTS = 2e-3, 6
BLUR = render.blur_radius(SIGMA)
FIELDS = ("zbuf", "bary_coords", "dists")


@functools.cache
def soft(slots=SLOTS, blur=BLUR, size=SIZE):
    options = render.SoftOptions(blur)
    return lambda v, f: render.rasterize_soft(
        jnp.asarray(v), jnp.asarray(f), jnp.asarray(K), size, slots, options
    )


def doubtful(truth, fragments):
    """Pixels where rounding may decide: a face joins or leaves at the blur's rim, or two swap in depth."""
    distance = np.where(np.isfinite(truth["all_dists"]), truth["all_dists"], 1.0)
    rim = np.min(np.minimum(np.abs(distance - BLUR), np.abs(distance)), axis=0) < 1e-5
    depth = np.where(truth["zbuf"] > 0, truth["zbuf"], np.inf)
    with np.errstate(invalid="ignore"):
        close = np.diff(depth, axis=-1) < 1e-5 * depth[..., :-1]
    return rim | np.any(close, axis=-1) | np.any(depth[..., -1:] < np.inf, axis=-1)


@given(seed=st.integers(0, 2**31))
@example(seed=384119)  # a sliver 7 px long and 0.006 px wide
def test_slots_equal_the_oracle(seed):
    vertices, faces = soup(seed, 24, 0.5)
    truth = oracle.rasterize_soft(vertices, faces, K, SIZE, SLOTS, BLUR)
    fragments = soft()(vertices, faces)
    placed = np.append(is_placed(vertices, faces), True)[truth["pix_to_face"]].all(axis=-1)
    sure = placed & ~doubtful(truth, fragments)
    assert sure.mean() > 0.5
    np.testing.assert_array_equal(fragments.pix_to_face[sure], truth["pix_to_face"][sure])
    for name in FIELDS:
        np.testing.assert_allclose(
            getattr(fragments, name)[sure], truth[name][sure], rtol=1e-4, atol=2e-4, err_msg=name
        )


def test_the_nearest_slots_are_kept_where_there_are_more_faces_than_slots():
    vertices, faces = soup(3, 60, 1.0)
    few, many = soft(2)(vertices, faces), soft(12)(vertices, faces)
    assert np.mean(np.asarray(many.pix_to_face[..., 2]) >= 0) > 0.5
    np.testing.assert_array_equal(few.pix_to_face, many.pix_to_face[..., :2])
    depth = np.where(many.mask, many.zbuf, np.inf)
    assert np.all(np.sort(depth, axis=-1) == depth)


def test_coincident_faces_stand_in_the_order_of_their_indices():
    vertices, _ = soup(3, 1)
    vertices[:, 2] = np.abs(vertices[:, 2])
    drawn = soft(4)(vertices, np.array([[0, 1, 2]] * 3)).pix_to_face
    kept = np.asarray(drawn)[np.asarray(drawn)[..., 0] >= 0]
    assert len(kept) and np.all(kept == [0, 1, 2, -1])


def test_many_windows_of_pairs_give_what_one_gives(monkeypatch):
    """Pairs beyond one window are sorted later: the slots go on where they were."""
    vertices, faces = soup(8, 80, 1.0)
    whole = soft(4)(vertices, faces)
    module = __import__("sys").modules["render.soft"]
    monkeypatch.setattr(module, "WINDOW", 64)
    parts = module.rasterize_soft.__wrapped__(
        jnp.asarray(vertices), jnp.asarray(faces), jnp.asarray(K), SIZE, 4, render.SoftOptions(BLUR)
    )
    np.testing.assert_array_equal(parts.pix_to_face, whole.pix_to_face)


@given(seed=st.integers(0, 2**31), spread=st.sampled_from([0.3, 1.5]))
def test_silhouette_equals_the_oracle(seed, spread):
    vertices, faces = soup(seed, 20, spread)
    truth = oracle.silhouette(vertices, faces, K, SIZE, SIGMA, BLUR)
    ours = render.silhouette(jnp.asarray(vertices), jnp.asarray(faces), jnp.asarray(K), SIZE, SIGMA)
    # A face that joins at the blur's rim adds 1e-4 by definition.
    np.testing.assert_allclose(ours, truth, atol=3e-4)


def test_silhouette_of_nothing_and_of_a_batch():
    vertices, faces = soup(1, 10)
    two = render.silhouette(
        jnp.stack([vertices, vertices * [1, 1, -1]]),
        jnp.asarray(faces),
        jnp.asarray(K),
        SIZE,
        SIGMA,
    )
    alone = render.silhouette(
        jnp.asarray(vertices), jnp.asarray(faces), jnp.asarray(K), SIZE, SIGMA
    )
    np.testing.assert_allclose(two[0], alone, atol=1e-6)
    behind = np.asarray(vertices)[:, 2] < 0
    assert not behind[np.asarray(faces)].all(axis=1).any()
    np.testing.assert_array_equal(two[1], 0.0)


def test_silhouette_gradient_equals_finite_differences_of_the_oracle():
    vertices, faces = soup(5, 8, 0.6)
    vertices[:, 2] = np.abs(vertices[:, 2])
    weights = np.random.default_rng(0).standard_normal(SIZE)
    gradient = jax.grad(
        lambda v: jnp.sum(
            render.silhouette(v, jnp.asarray(faces), jnp.asarray(K), SIZE, SIGMA) * weights
        )
    )(jnp.asarray(vertices))
    step, scale = 1e-6, np.abs(gradient).max()
    assert scale > 1
    for index in list(np.ndindex(vertices.shape))[::5]:
        values = []
        for sign in (1, -1):
            moved = vertices.astype(np.float64)
            moved[index] += sign * step
            # No rim: a face that joined there would step by 1e-4.
            values.append(np.sum(oracle.silhouette(moved, faces, K, SIZE, SIGMA, 1e3) * weights))
        difference = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, rtol=2e-2, atol=2e-3 * scale)


def test_slot_gradients_equal_finite_differences_of_the_oracle():
    """At fixed slots: depth, barycentrics and distances of the faces that each pixel keeps."""
    vertices, faces = soup(7, 8, 0.5)
    vertices[:, 2] = np.abs(vertices[:, 2])
    truth = oracle.rasterize_soft(vertices, faces, K, SIZE, SLOTS, BLUR)
    draws = np.random.default_rng(0)
    weights = {name: draws.standard_normal(truth[name].shape) for name in FIELDS}
    sure = (~doubtful(truth, None))[..., None] & (truth["pix_to_face"] >= 0)
    # Where two edges are equally near, or a clipped barycentric is just zero, there is a kink.
    bary = truth["bary_coords"]
    sure &= np.all((bary == 0) | (np.abs(bary) > 1e-3), axis=-1)

    def loss(values, xp):
        total = values["zbuf"] * weights["zbuf"] + values["dists"] * weights["dists"]
        total = total + xp.sum(values["bary_coords"] * weights["bary_coords"], axis=-1)
        return xp.sum(xp.where(sure, total, 0.0))

    def ours(v):
        fragments = soft()(v, faces)
        return loss({name: getattr(fragments, name) for name in FIELDS}, jnp)

    gradient = jax.grad(ours)(jnp.asarray(vertices))
    step, scale = 1e-7, np.abs(gradient).max()
    assert sure.sum() > 100 and scale > 1
    for index in list(np.ndindex(vertices.shape))[::5]:
        values = []
        for sign in (1, -1):
            moved = vertices.astype(np.float64)
            moved[index] += sign * step
            again = oracle.rasterize_soft(moved, faces, K, SIZE, SLOTS, BLUR)
            np.testing.assert_array_equal(again["pix_to_face"][sure], truth["pix_to_face"][sure])
            values.append(loss(again, np))
        difference = (values[0] - values[1]) / (2 * step)
        np.testing.assert_allclose(gradient[index], difference, rtol=2e-2, atol=2e-3 * scale)


def sides_of_lattice(corners, step, size):
    """Whole numbers (N, 3, H, W), > 0 inside an edge and 0 on it: corners (N, 3, 2) in steps, 1/step px."""
    y, x = (np.mgrid[: size[0], : size[1]] * 2 + 1) * step // 2
    x0, y0 = (corners[:, :, k, None, None] for k in range(2))
    x1, y1 = (np.roll(a, -1, axis=1) for a in (x0, y0))
    sides = (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
    return sides * np.sign(sides.sum(axis=1, keepdims=True))


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(render.SoftOptions(), id="hard"),
        pytest.param(render.SoftOptions(perspective_correct=False), id="screen"),
        pytest.param(render.SoftOptions(blur_radius=0.01), id="blurred"),
    ],
)
@pytest.mark.parametrize("size", [(10, 10), (16, 24), (30, 21)])
def test_a_pixel_centre_on_an_edge_is_inside_no_face(size, options):
    """Corners on a lattice that float32 holds: whole numbers say which centres lie on an edge."""
    step = 4
    draws = np.random.default_rng(0)
    corners = draws.integers(0, step * min(size), (300, 3, 2))
    corners[::2] = corners[::2] // step * step + step // 2  # pixel centres
    corners[0] = np.array([(9.5, 6), (5, 2), (1.5, 7)]) * step
    sides = sides_of_lattice(corners, step, size)
    flat = np.all(sides.sum(axis=1) == 0, axis=(1, 2))
    corners, sides = corners[~flat], sides[~flat]
    on_edge = sides.min(axis=1) == 0
    assert on_edge.sum() > 500
    # Depths that are powers of two keep the corners where they are on the screen.
    depth = 2.0 ** draws.integers(-1, 2, (*corners.shape[:2], 1))
    vertices = np.concatenate([corners / step * depth, depth], axis=-1).astype(np.float32)
    for winding in ([0, 1, 2], [0, 2, 1]):
        fragments = render.rasterize_soft(
            jnp.asarray(vertices), jnp.array([winding]), jnp.eye(3), size, 1, options
        )
        inside = (fragments.mask & np.signbit(fragments.dists))[..., 0]
        np.testing.assert_array_equal(inside, sides.min(axis=1) > 0)
        if not options.blur_radius:
            np.testing.assert_array_equal(fragments.mask[..., 0], inside)


# PyTorch3D's test of two simple triangles (tests/test_rasterize_meshes.py), y up, at z 0.1 and 0.5.
TRIANGLES = [[("0", "0.6"), ("-0.7", "-0.4"), ("0.7", "-0.4")]]
TRIANGLES += [[("-0.7", "0.4"), ("0", "-0.6"), ("0.7", "0.4")]]
# The columns, first and one past the last, of the rows 3, 4, 5 and 6; other rows are empty.
COLUMNS = [[(4, 6), (3, 7), (3, 7), (2, 8)], [(2, 8), (3, 7), (3, 7), (4, 6)]]


def exact_triangle(number):
    """Whether inside (10, 10), barycentrics (10, 10, 3) and squared distances, by fractions."""
    a, b, c = ([Fraction(t) for t in corner] for corner in TRIANGLES[number])
    inside, bary, dists = np.zeros((10, 10), bool), np.zeros((10, 10, 3)), np.zeros((10, 10))

    def cross(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    def squared(p, q, r):
        dx, dy = q[0] - p[0], q[1] - p[1]
        t = ((r[0] - p[0]) * dx + (r[1] - p[1]) * dy) / (dx * dx + dy * dy)
        t = min(max(t, 0), 1)
        return (p[0] + t * dx - r[0]) ** 2 + (p[1] + t * dy - r[1]) ** 2

    for i, j in np.ndindex(10, 10):
        p = Fraction(2 * j - 9, 10), Fraction(9 - 2 * i, 10)
        b0, b1, b2 = (cross(*edge, p) / cross(a, b, c) for edge in ((b, c), (c, a), (a, b)))
        inside[i, j] = min(b0, b1, b2) > 0
        bary[i, j] = float(b0), float(b1), float(b2)
        dists[i, j] = -float(min(squared(*edge, p) for edge in ((a, b), (b, c), (c, a))))
    return inside, bary, dists


def test_simple_triangles_equal_the_published_numbers():
    near, far = (exact_triangle(number) for number in range(2))
    for exact, columns in zip((near, far), COLUMNS):
        published = np.zeros((10, 10), bool)
        for row, (start, end) in enumerate(columns, 3):
            published[row, start:end] = True
        np.testing.assert_array_equal(exact[0], published)
    ndc = np.array(TRIANGLES, np.float32)
    depth = np.repeat(np.float32([0.1, 0.5]), 3)[:, None]
    vertices = np.concatenate([ndc.reshape(-1, 2) * [1, -1] * depth, depth], axis=-1)
    K = jnp.array([[5.0, 0, 5], [0, 5, 5], [0, 0, 1]])
    fragments = render.rasterize_soft(
        jnp.asarray(vertices, jnp.float32), jnp.arange(6).reshape(2, 3), K, (10, 10), 2
    )
    # The first slot holds the near triangle where it is, else the far one; the second the far one.
    first = np.where(near[0], 0, np.where(far[0], 1, -1))
    faces = np.stack([first, np.where(near[0] & far[0], 1, -1)], axis=-1)
    np.testing.assert_array_equal(fragments.pix_to_face, faces)
    for k, name in enumerate(FIELDS):
        values = [
            (np.full((10, 10), z), *rest)[k] for z, (_, *rest) in zip((0.1, 0.5), (near, far))
        ]
        ours = np.asarray(getattr(fragments, name))
        for face, value in enumerate(values):
            row, column, slot = np.nonzero(faces == face)
            np.testing.assert_allclose(
                ours[row, column, slot], value[row, column], atol=2e-6, err_msg=name
            )
        assert np.all(ours[faces < 0] == -1)


def camera(record):
    K = np.tile(np.eye(3, dtype=np.float32), (len(record["verts"]), 1, 1))
    K[:, [0, 1], [0, 1]], K[:, :2, 2] = record["focal"], record["principal"]
    return jnp.asarray(K)


@functools.cache
def rendered(name):
    """A recorded file, and our silhouettes, image, fragments and gradients of its input."""
    record = dict(np.load(DATA / f"raster_soft_{name}.npz"))
    sigma, slots = float(record["sigma"]), int(record["K"])
    size = record["sil_rgba"].shape[1:3]
    faces, K = jnp.asarray(record["faces"]), camera(record)
    weights = np.random.default_rng(13).standard_normal(record["sil_rgba"].shape).astype(np.float32)
    options = render.SoftOptions(blur_radius=render.blur_radius(sigma))

    def images(vertices, colors):
        fragments = render.rasterize_soft(vertices, faces, K, size, slots, options)
        alpha = render.alpha(fragments, sigma)
        shaded = render.shade(fragments, vertices, faces, colors, render.PointLight())
        image = render.softmax_blend(
            shaded, fragments, sigma, float(record["gamma"]), jnp.asarray(record["background"])
        )
        every = render.silhouette(vertices, faces, K, size, sigma)
        image = jnp.concatenate([image, alpha[..., None]], axis=-1)
        losses = (
            jnp.sum(alpha * weights[..., 3]),
            jnp.sum(image * weights),
            jnp.sum(every * weights[..., 3]),
        )
        return losses, (alpha, image, every, fragments)

    @jax.jit
    def run(vertices, colors):
        _, pullback, outputs = jax.vjp(images, vertices, colors, has_aux=True)
        return outputs, [pullback(tuple(jnp.float32(i == k) for i in range(3))) for k in range(3)]

    result = run(jnp.asarray(record["verts"] * FLIP), jnp.asarray(record["rgb"]))
    return record, *jax.tree.map(np.asarray, result)


def noisy_vertices(record, fragments):
    """(N, V) vertices of faces kept beyond their plane's vanishing line: gradients there are noise."""
    size = fragments.pix_to_face.shape[1:3]
    y, x = np.mgrid[: size[0], : size[1]][:, ..., None] + 0.5
    noisy = np.zeros(record["verts"].shape[:2], bool)
    for n, vertices in enumerate(record["verts"] * FLIP):
        screen = (vertices / vertices[:, 2:]) @ np.asarray(camera(record)[n]).T[:, :2]
        face = fragments.pix_to_face[n]
        corner = record["faces"][np.maximum(face, 0)]
        px, py = screen[corner, 0].astype(float) - x[..., None], screen[corner, 1] - y[..., None]
        side = [px[..., i - 2] * py[..., i - 1] - px[..., i - 1] * py[..., i - 2] for i in range(3)]
        total = sum(s / vertices[corner[..., i], 2] for i, s in enumerate(side)) / sum(side)
        noisy[n, record["faces"][face[(face >= 0) & (total <= 1e-7)]]] = True
    return noisy


FILES = ["hand_64_K8_s0.0001", "ico_64_K50_s0.001"]


@pytest.mark.parametrize("name", FILES)
def test_images_equal_the_recorded_ones(name):
    record, (alpha, image, _, fragments), _ = rendered(name)
    np.testing.assert_array_equal(fragments.mask.sum(axis=-1), record["n_faces_per_pixel"])
    np.testing.assert_allclose(alpha, record["sil_rgba"][..., 3], atol=1e-4)
    np.testing.assert_allclose(image, record["phong_rgba"], atol=1e-4)


@pytest.mark.parametrize("name", FILES[:1])
def test_fragments_equal_the_recorded_ones(name):
    record, (_, _, _, fragments), _ = rendered(name)
    expected = record["pix_to_face"]
    first = np.arange(len(expected))[:, None, None, None] * len(record["faces"])
    same = fragments.pix_to_face == np.where(expected >= 0, expected - first, -1)
    assert np.mean(~same) < 1e-3  # equal depths to the last bits
    for ours, theirs in (("zbuf", "zbuf"), ("bary_coords", "bary"), ("dists", "dists")):
        np.testing.assert_allclose(
            getattr(fragments, ours)[same], record[theirs][same], atol=1e-4, err_msg=ours
        )


@pytest.mark.parametrize("name", FILES)
def test_gradients_equal_the_recorded_ones(name):
    record, (_, _, _, fragments), (of_alpha, of_image, _) = rendered(name)
    sure = ~noisy_vertices(record, fragments)
    assert sure.mean() > 0.85
    everywhere = np.ones_like(sure)
    for ours, expected, where in (
        (of_alpha[0] * FLIP, record["sil_grad_verts"], everywhere),
        (of_image[0] * FLIP, record["phong_grad_verts"], sure),
        (of_image[1], record["phong_grad_rgb"], everywhere),
    ):
        ours, expected = ours[where], expected[where]
        np.testing.assert_allclose(ours, expected, rtol=1e-2, atol=1e-3 * np.abs(expected).max())
        assert np.isfinite(ours).all()


def test_silhouette_of_all_faces_equals_the_recorded_one_of_fifty():
    """On the icosphere no pixel has fifty faces in reach: with K = 50 all are counted."""
    record, (_, _, every, _), (_, _, of_every) = rendered("ico_64_K50_s0.001")
    assert record["n_faces_per_pixel"].max() < 50
    np.testing.assert_allclose(every, record["sil_rgba"][..., 3], atol=1e-5)
    expected = record["sil_grad_verts"]
    # Where two edges are equally near, rounding chooses whose gradient it is.
    error = np.abs(of_every[0] * FLIP - expected) / np.abs(expected).max()
    assert error.max() < 5e-3 and np.mean(error > 1e-4) < 0.01


UNIT = [
    "soup_24x40_K4_b0.01_pc1_clip1_cull0",
    "soup_24x40_K4_b0.01_pc0_clip1_cull0",
    "soup_32_K3_b0.001_pc1_clip1_cull0",
    "soup_32_K1_b0_pc1_clip0_cull1",
    "edge_24x40_K4_b0.01_pc1_clip1_cull0",
]


@pytest.mark.parametrize("name", UNIT)
def test_options_equal_the_recorded_ones(name):
    record = np.load(DATA / "raster_unit.npz")
    mesh, size, slots, blur, perspective, clip, cull = name.split("_")
    size = (32, 32) if size == "32" else (24, 40)
    slots, blur = int(slots[1:]), float(blur[1:])
    options = render.SoftOptions(blur, perspective == "pc1", clip == "clip1", cull == "cull1")
    expected = {k: record[f"{name}/{k}"] for k in ("pix_to_face", "zbuf", "bary", "dists")}
    half = min(size) / 2
    K = jnp.array([[half, 0, size[1] / 2], [0, half, size[0] / 2], [0, 0, 1]], jnp.float32)
    draws = np.random.default_rng(99)
    shapes = ((1, *size, slots), (1, *size, slots, 3), (1, *size, slots))
    weights = [draws.standard_normal(shape).astype(np.float32)[0] for shape in shapes]
    counted = jnp.asarray(expected["pix_to_face"] >= 0, jnp.float32)

    @jax.jit
    @functools.partial(jax.grad, has_aux=True)
    def gradient(ndc):
        x, y, z = ndc.T
        vertices = jnp.stack([-x * z, -y * z, z], axis=-1)
        fragments = render.rasterize_soft(
            vertices, jnp.asarray(record[f"{mesh}_faces"]), K, size, slots, options
        )
        total = fragments.zbuf * weights[0] + fragments.dists * weights[2]
        total = total + jnp.sum(fragments.bary_coords * weights[1], axis=-1)
        return jnp.sum(total * counted), fragments

    ours, fragments = gradient(jnp.asarray(record[f"{mesh}_verts"]))
    assert np.isfinite(ours).all()
    # Whether a pixel centre on an edge is strictly inside is for rounding to say.
    on_edge = np.minimum(np.abs(fragments.dists), np.abs(expected["dists"])).min(axis=-1) < 1e-9
    on_edge &= mesh == "edge"
    # Depths are equal in each slot even where coplanar faces, equal but for rounding, swap.
    np.testing.assert_allclose(fragments.zbuf[~on_edge], expected["zbuf"][~on_edge], atol=1e-5)
    same = np.asarray(fragments.pix_to_face) == expected["pix_to_face"]
    assert same.all() or (mesh == "edge" and same.mean() > 0.95)
    for field, theirs in (("bary_coords", "bary"), ("dists", "dists")):
        np.testing.assert_allclose(
            getattr(fragments, field)[same], expected[theirs][same], atol=1e-4, err_msg=field
        )
    if mesh == "soup" and name != UNIT[0]:  # whose clamped weights have noise for a gradient
        theirs = record[f"{name}/grad_verts"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3 * np.abs(theirs).max())


def test_a_single_near_layer_blends_to_its_own_colour():
    """With one opaque face far from its outline nothing of the background shines through."""
    vertices = np.array([[-9, -9, 1], [9, -9, 1], [0, 12, 1]], np.float32)
    fragments = soft(2)(vertices, np.array([[0, 1, 2]]))
    assert np.all(fragments.pix_to_face[..., 0] == 0)
    colors = jnp.broadcast_to(jnp.array([0.2, 0.4, 0.6]), (*SIZE, 2, 3))
    blended = render.softmax_blend(colors, fragments, background=0.0, znear=0.5, zfar=2.0)
    np.testing.assert_allclose(blended, colors[:, :, 0], atol=1e-5)
    np.testing.assert_allclose(render.alpha(fragments), 1.0, atol=1e-6)


def test_empty_pixels_are_background_and_give_no_gradient():
    vertices, faces = soup(2, 4, 0.2)
    empty = np.asarray(~soft()(vertices, faces).mask[..., 0])
    assert 0.3 < empty.mean() < 1

    def total(v):
        fragments = soft()(v, faces)
        colors = render.shade(fragments, v, jnp.asarray(faces), v * 0 + 0.5, render.PointLight())
        image = render.softmax_blend(colors, fragments, SIGMA, 1e-2, 0.25)
        return jnp.sum(jnp.where(empty[..., None], image, 0.0)), image

    (_, image), gradient = jax.value_and_grad(total, has_aux=True)(jnp.asarray(vertices))
    np.testing.assert_allclose(np.asarray(image)[empty], 0.25, atol=1e-6)
    np.testing.assert_array_equal(gradient, 0)
