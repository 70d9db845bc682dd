"""Scenes so large that an int32 can't count what they are made of: counted in parts, or refused."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from render_scenes import SIZE, K, soup

import render
from render import blocks, oracle

SIGMA = 2e-3


def boxes(low, high, size, aligned=False):
    """The BlockPairs of faces with these boxes ((M, 2) px each) and of one that is not drawn."""
    axes = [
        [jnp.asarray(np.append(a[:, k], 0.0), jnp.float32) for k in range(2)] for a in (low, high)
    ]
    drawn = jnp.arange(len(low) + 1) < len(low)
    return blocks.block_pairs(*axes, drawn, size, aligned)


def test_more_pairs_than_an_int32_counts():
    """8,200 faces over an image of 512 x 512 blocks."""
    faces, side = 8200, 4096
    whole = np.ones((faces, 2)) * side
    pairs = boxes(whole * 0, whole, (side, side))
    ends = np.asarray(pairs.ends, np.int64)
    assert faces * 512 * 512 > 2**31
    assert ends[..., -1].sum() == faces * 512 * 512
    assert np.all(np.diff(ends) >= 0) and ends.max() < 2**31 - 2**20


@pytest.mark.parametrize("most", [1, 500, 1 << 30])
def test_each_block_of_each_face_is_walked_once(monkeypatch, most):
    monkeypatch.setattr(blocks, "MOST_PAIRS", most)
    size, draws = (50, 70), np.random.default_rng(0)
    low = draws.integers(-10, 70, (40, 2)) + 0.25
    high = low + draws.integers(0, 60, (40, 2)) * (draws.random((40, 1)) < 0.7)
    expected = {
        (face, i // 8 * 8, j // 8)
        for face, ((x0, y0), (x1, y1)) in enumerate(zip(low, high))
        for i in range(size[0])
        for j in range(size[1])
        if x0 <= j + 0.5 <= x1 and y0 <= i + 0.5 <= y1
    }

    def step(face, row, strip, state):
        seen, steps = state
        return seen.at[steps].set(jnp.stack([face, row, strip])), steps + 1

    pairs = boxes(low, high, size, aligned=True)
    seen, steps = pairs.walk(16, step, (jnp.full((400, 3, 16), -1), 0))
    assert 0 < steps < 400
    walked = [tuple(p) for p in np.asarray(seen).transpose(0, 2, 1).reshape(-1, 3).tolist()]
    walked = [p for p in walked if 0 <= p[0] < len(low)]
    assert sorted(walked) == sorted(expected)


def test_faces_counted_in_parts_give_what_the_oracle_gives(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_PAIRS", 100)
    vertices, faces = soup(3, 40)
    scene = jnp.asarray(vertices), jnp.asarray(faces), jnp.asarray(K), SIZE
    truth = oracle.rasterize(vertices, faces, K, SIZE)
    drawn = render.rasterize.__wrapped__(*scene).pix_to_face
    sure = ~truth.doubtful
    np.testing.assert_array_equal(drawn[sure], truth.pix_to_face[sure])
    parts = render.silhouette.__wrapped__(*scene, SIGMA)
    truth = oracle.silhouette(vertices, faces, K, SIZE, SIGMA, render.blur_radius(SIGMA))
    np.testing.assert_allclose(parts, truth, atol=3e-4)

    def total(silhouette, vertices):
        return jnp.sum(silhouette(vertices, *scene[1:], SIGMA) ** 2)

    slots = render.rasterize_soft.__wrapped__(*scene, 4).pix_to_face
    gradient = jax.grad(functools.partial(total, render.silhouette.__wrapped__))(scene[0])
    monkeypatch.undo()
    np.testing.assert_array_equal(slots, render.rasterize_soft(*scene, 4).pix_to_face)
    whole = jax.grad(functools.partial(total, render.silhouette))(scene[0])
    np.testing.assert_allclose(gradient, whole, rtol=1e-5, atol=1e-5 * np.abs(whole).max())


def traced(function, size, images=1, vertices=4, faces=2):
    """Shapes alone: nothing of this size is made."""
    scene = (
        jax.ShapeDtypeStruct((images, vertices, 3), jnp.float32),
        jax.ShapeDtypeStruct((faces, 3), jnp.int32),
        jax.ShapeDtypeStruct((3, 3), jnp.float32),
    )
    return jax.eval_shape(lambda v, f, k: function(v, f, k, size), *scene)


def top(slots):
    return lambda *scene: render.rasterize_soft(*scene, slots)


@pytest.mark.parametrize(
    ("function", "fits", "scene", "things"),
    [
        # 46,340^2 < 2^31 < 46,341^2 pixels, but for a few groups of 16.
        (render.rasterize, {"size": (46_000, 46_000)}, {"size": (46_341, 46_341)}, "places"),
        # 4,096 strips of 32,776 rows of 8 px an image: those of 16 images are more than 2^31.
        (render.silhouette, {"size": (32_768,) * 2, "images": 15}, {"images": 16}, "rows"),
        (render.rasterize, {"size": (32_768,) * 2, "images": 1}, {"images": 16}, "rows"),
        (top(8), {"size": (16_384, 16_000)}, {"size": (16_384, 16_384)}, "places"),
        (top(1), {"size": (16_384,) * 2, "images": 1}, {"images": 64}, "rows"),
        (
            render.rasterize,
            {"size": (8, 8), "images": 2**20, "vertices": 2047},
            {"vertices": 2048},
            "vertices",
        ),
        (
            render.silhouette,
            {"size": (8, 8), "images": 2**20, "faces": 2047},
            {"faces": 2048},
            "faces",
        ),
    ],
)
def test_what_an_int32_cannot_number_is_refused_while_tracing(function, fits, scene, things):
    traced(function, **fits)
    with pytest.raises(ValueError, match=f"{things}.* more than an int32 can number"):
        traced(function, **(fits | scene))
