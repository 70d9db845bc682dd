"""The photometric term where an object hides a part of the hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import render
from amvur_jax.models.outputs import Texture
from amvur_jax.training import losses
from amvur_jax.training.objective import LossConfig, count_labels, photometric_term
from mano_jax import load_hand

SIZE = 48
SKIN, OBJECT = np.array([0.8, 0.2, -0.1], np.float32), np.array([-1.5, 0.5, 2.0], np.float32)


@pytest.fixture(scope="module")
def scene():
    """(draw, image, cover, under): a hand of skin colour, its lower part behind an object.

    draw: vertex colours (778,3) -> Texture of one sample. image: (1,S,S,3). cover: (1,S,S) bool, the object.
    under: (778,) bool, the vertices that are drawn in pixels of the object alone.
    """
    hand = load_hand()
    vertices = np.asarray(hand.v_template, np.float32)[:, [0, 2, 1]]
    vertices = jnp.asarray(vertices - vertices.mean(0) + [0, 0, 0.4])[None]
    K = jnp.array([[1.9 * SIZE, 0, SIZE / 2], [0, 1.9 * SIZE, SIZE / 2], [0, 0, 1]])[None]
    fragments = render.rasterize(vertices, hand.faces, K, (SIZE, SIZE))
    flat = render.PointLight(ambient=1.0, diffuse=0.0)

    def draw(colors):
        image = render.shade_faces(
            fragments.pix_to_face, vertices, hand.faces, colors[None], K, flat, background=1.0
        )
        visible = render.visible_vertices(fragments, hand.faces, 778)
        return Texture(colors[None], visible, image[..., 0, :], fragments.mask[..., 0])

    face = np.asarray(fragments.pix_to_face[0, ..., 0])
    rows = np.nonzero((face >= 0).any(1))[0]
    cover = np.zeros((1, SIZE, SIZE), bool)
    cover[:, int(np.quantile(rows, 0.6)) :] = True
    in_sight, hidden = (
        np.unique(np.asarray(hand.faces)[face[(face >= 0) & where]])
        for where in (~cover[0], cover[0])
    )
    under = np.isin(np.arange(778), np.setdiff1d(hidden, in_sight))
    skin = np.asarray(draw(jnp.tile(SKIN, (778, 1))).image)
    image = np.where(cover[..., None], OBJECT, skin)
    assert under.sum() > 50 and 0.15 < cover[0][face >= 0].mean() < 0.45
    return draw, jnp.asarray(image), cover, under


def term(draw, image, occlusion, visible=None):
    """colours (778,3) -> the term of one sample whose label `visible` is, where it has one."""
    batch = {
        "has_image": jnp.ones(1),
        "has_3d": jnp.zeros(1),
        "has_mesh": jnp.zeros(1),
        "joints_valid": jnp.ones((1, 21)),
    }
    if occlusion == "labels":
        known = visible is not None
        batch["has_visible"] = jnp.ones(1) * known
        batch["visible"] = jnp.asarray(visible) if known else jnp.ones((1, SIZE, SIZE), bool)
    config = LossConfig(occlusion=occlusion)
    counts = count_labels(batch, config.mode)
    return lambda colors: photometric_term(draw(colors), batch, image, config, counts)


def some_colors():
    return jnp.asarray(np.random.default_rng(0).normal(0, 1, (778, 3)), jnp.float32)


def value_and_gradient(function):
    return jax.value_and_grad(function)(some_colors())


def test_what_covers_the_hand_changes_neither_loss_nor_gradient(scene):
    draw, image, cover, under = scene
    other = jnp.where(cover[..., None], 5.0 - 3 * image, image)
    value, gradient = value_and_gradient(term(draw, image, "labels", ~cover))
    again, same = value_and_gradient(term(draw, other, "labels", ~cover))
    assert float(value) == float(again) and float(value) > 0.1
    np.testing.assert_array_equal(gradient, same)
    # Nor do vertices that are seen nowhere else learn anything; without the labels they do.
    assert not np.asarray(gradient)[under].any() and np.asarray(gradient)[~under].any()
    assert np.asarray(value_and_gradient(term(draw, image, "off"))[1])[under].any()


def test_with_nothing_before_the_hand_labels_are_as_off(scene):
    draw, image, cover, _ = scene
    value, gradient = value_and_gradient(term(draw, image, "off"))
    again, same = value_and_gradient(term(draw, image, "labels", np.ones_like(cover)))
    assert float(value) == float(again)
    np.testing.assert_array_equal(gradient, same)
    # and off is the published formula, whatever else the sample holds
    texture = draw(some_colors())
    assert float(value) == float(losses.photometric(image, texture.image, 1.0 * texture.mask))


def test_a_sample_without_labels_is_weighed_by_its_own_error(scene):
    draw, image, _, _ = scene
    robust, unlabelled = (value_and_gradient(term(draw, image, o)) for o in ("robust", "labels"))
    assert float(robust[0]) == float(unlabelled[0])
    np.testing.assert_array_equal(robust[1], unlabelled[1])


def test_once_the_seen_part_fits_what_covers_the_rest_hardly_pulls(scene):
    draw, image, _, under = scene
    near = SKIN + jnp.asarray(np.random.default_rng(1).normal(0, 0.1, (778, 3)), jnp.float32)
    share = {}
    for way in ("off", "robust"):
        pull = np.linalg.norm(jax.grad(term(draw, image, way))(near), axis=-1)
        share[way] = pull[under].sum() / pull.sum()
    # The object is at about 15 times the median: of a weight of less than a hundredth.
    assert share["off"] > 0.1 and share["robust"] < 0.1 * share["off"]


def test_the_colours_under_an_object_are_not_learnt(scene):
    """Steps down the term's gradient from colours near the skin's: only `off` takes on the object's."""
    draw, image, cover, under = scene
    start = SKIN + jnp.asarray(np.random.default_rng(1).normal(0, 0.1, (778, 3)), jnp.float32)

    def learnt(occlusion, visible=None):
        @functools.partial(jax.jit)
        def step(colors):
            gradient = jax.grad(term(draw, image, occlusion, visible))(colors)
            norm = jnp.linalg.norm(gradient, axis=-1, keepdims=True)
            return colors - 0.1 * gradient / jnp.maximum(norm, 1e-9)

        colors = start
        for _ in range(15):
            colors = step(colors)
        way = (OBJECT - SKIN) / np.linalg.norm(OBJECT - SKIN)
        return np.asarray((colors - start) @ way)[
            under
        ]  # how far each went towards the object's colour

    # 15 steps of 0.1
    assert np.median(learnt("off")) > 1.4
    assert not learnt("labels", ~cover).any()
