"""The spread head: it tells of errors, and nothing else of the network knows that it is there."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_config

from amvur_jax import configuration
from amvur_jax.models import cameras
from amvur_jax.models.initial import Draws
from amvur_jax.models.keypoints import blur, expected
from amvur_jax.models.pose_head import Keypoints, Pose, Turns
from amvur_jax.models.spread import NearHead, Spread, SpreadHead, cues_of, vertex_weights
from amvur_jax.training import losses
from amvur_jax.training.objective import LossConfig, count_labels, supervised_nll, weak_nll
from mano_jax import load_hand


@pytest.fixture(scope="module")
def hand():
    return load_hand()


def test_the_likelihood_is_least_at_the_true_variance_and_leaves_the_mean_alone():
    difference = jnp.array([[0.1, -0.3], [0.2, 0.4]])

    def nll(difference, log_var):
        return losses.gaussian_nll(difference, log_var, jnp.array([[1.0, 1.0], [1.0, 0.0]]))

    best = jnp.log(difference**2)
    by_difference, by_log_var = jax.grad(nll, (0, 1))(difference, best)
    assert not by_difference.any()
    np.testing.assert_allclose(by_log_var, 0, atol=1e-6)
    used = best[jnp.array([0, 0, 1]), jnp.array([0, 1, 0])]
    assert nll(difference, best) == pytest.approx(float(0.5 * jnp.mean(used + 1)), rel=1e-6)
    assert losses.gaussian_nll(difference, best, jnp.zeros((2, 2))) == 0


def test_without_the_head_every_other_parameter_starts_the_same():
    config = tiny_config("")
    config.model.spread_head = False
    without = configuration.network(config).init(0)["params"]
    config.model.spread_head = True
    with_head = dict(configuration.network(config).init(0)["params"])
    assert with_head.pop("spread")
    jax.tree.map(np.testing.assert_array_equal, with_head, without)


def test_a_vertex_takes_after_the_joints_near_it(hand):
    weights = np.asarray(vertex_weights(hand))
    np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-5)
    assert weights[745].argmax() == 4  # at the thumb's tip
    assert weights[317].argmax() == 8


def test_a_projected_variance_is_what_points_drawn_from_it_have():
    # the weak likelihood rests on it: metres of depth and width to pixels
    K = cameras.intrinsics(jnp.array([1.0, 0.25, 1.0, 0.25]), 64)
    point = jnp.array([[0.05, -0.03, 0.6]])
    log_var = jnp.full((1, 3), 2 * jnp.log(0.004))
    draws = point + 0.004 * jax.random.normal(jax.random.key(0), (20000, 1, 3))
    drawn = cameras.project(draws, K).var(0)
    np.testing.assert_allclose(
        jnp.exp(cameras.project_log_var(point, log_var, K)), drawn, rtol=0.05
    )


def test_the_weak_likelihood_reaches_the_head_alone():
    rng = np.random.default_rng(0)
    joints = jnp.asarray(rng.normal([0, 0, 0.6], 0.05, (2, 21, 3)), jnp.float32)
    camera = jnp.tile(jnp.array([[1.0, 0.25, 1.0, 0.25]]), (2, 1))
    labels = jnp.asarray(rng.uniform(0, 1, (2, 21, 2)), jnp.float32)
    batch = {"joints_2d": labels, "joints_valid": jnp.ones((2, 21))}
    batch |= {"has_image": jnp.ones(2), "has_3d": jnp.zeros(2), "has_mesh": jnp.zeros(2)}

    def nll(joints, camera, log_var):
        outputs = SimpleNamespace(
            prior=SimpleNamespace(joints=SimpleNamespace(mu=joints)),
            camera=SimpleNamespace(mu=camera),
            spread=Spread(log_var, None),
        )
        return weak_nll(outputs, batch, None, LossConfig(), 64, count_labels(batch, "weak"))

    gradients = jax.grad(nll, (0, 1, 2))(joints, camera, jnp.full((2, 21), -8.0))
    assert not gradients[0].any() and not gradients[1].any()
    assert not gradients[2][:, 0].any()  # the wrist has no error relative to itself
    assert (gradients[2][:, 1:] != 0).all()


def test_a_hidden_joint_of_a_picture_without_depth_is_less_sure_by_what_a_camera_makes_of_it():
    joints = jnp.tile(jnp.array([0.0, 0.0, 0.5]), (1, 21, 1))
    camera = jnp.array(
        [[1.0, 0.5, 1.0, 0.5]]
    )  # an axis through the middle: depth moves no joint there
    batch = {
        "joints_2d": jnp.full((1, 21, 2), 0.5),
        "joints_valid": jnp.ones((1, 21)),
        "has_image": jnp.ones(1),
        "has_3d": jnp.zeros(1),
        "has_mesh": jnp.zeros(1),
        "visible": jnp.zeros((1, 64, 64), bool),
        "has_visible": jnp.ones(1),
    }
    config = LossConfig(occlusion="labels", hidden_sigma=0.02)

    def nll(log_var):
        outputs = SimpleNamespace(
            prior=SimpleNamespace(joints=SimpleNamespace(mu=joints)),
            camera=SimpleNamespace(mu=camera),
            spread=Spread(jnp.full((1, 21), log_var), None),
        )
        return weak_nll(outputs, batch, None, config, 64, count_labels(batch, "weak"))

    # No error but the label's: the best variance is that, 2 cm where the joint is.
    assert jax.grad(nll)(2 * jnp.log(0.02)) == pytest.approx(0, abs=1e-5)
    assert jax.grad(nll)(2 * jnp.log(0.03)) > 0.1 > -0.1 > jax.grad(nll)(2 * jnp.log(0.015))


def test_the_head_gives_no_gradient_to_its_input(hand):
    head = SpreadHead(8, 778, rngs=Draws(0))
    spread = head(jnp.ones((2, 8)), hand)
    assert spread.joints.shape == (2, 21) and spread.vertices.shape == (2, 778)
    assert not jax.grad(lambda g: head(g, hand).vertices.sum())(jnp.ones((2, 8))).any()


def all_but_the_wrist_off(hand, off):
    """(posterior, batch) of two hands somewhere else, all but the wrist `off` (3,) m away; one has a mesh."""
    rng = np.random.default_rng(0)
    pose, betas = rng.normal(0, 0.2, (2, 48)), rng.normal(size=(2, 10))
    posed = hand.with_shape(jnp.asarray(betas)).with_pose(jnp.asarray(pose.reshape(2, 16, 3)))
    joints = np.asarray(posed.joints_21("ho3d"))
    place = rng.normal(0, 0.1, (2, 1, 3))
    wrong = joints + place + off * (np.arange(21) > 0)[:, None]
    posterior = SimpleNamespace(
        joints=SimpleNamespace(mu=jnp.asarray(wrong)),
        vertices=SimpleNamespace(mu=posed.vertices + place + off),
    )
    batch = {
        "pose": jnp.asarray(pose),
        "betas": jnp.asarray(betas),
        "joints_cam": jnp.asarray(joints),
        "joints_valid": jnp.ones((2, 21)),
        "has_3d": jnp.ones(2),
        "has_mesh": jnp.array([1.0, 0.0]),
        "has_image": jnp.ones(2),
    }
    return posterior, batch


def test_the_supervised_likelihood_is_that_of_the_labelled_errors(hand):
    posterior, batch = all_but_the_wrist_off(hand, np.array([0.005, 0, 0]))
    spread = Spread(jnp.full((2, 21), -9.0), jnp.full((2, 778), -8.0))
    outputs = SimpleNamespace(posterior=posterior, spread=spread)
    # a third of the coordinates are off
    want = sum(0.5 * (level + 0.005**2 * np.exp(-level) / 3) for level in (-9.0, -8.0))
    found = supervised_nll(
        outputs, batch, hand, LossConfig(), 64, count_labels(batch, "supervised")
    )
    assert found == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize("known", [0.0, 1.0])
def test_what_is_hidden_is_as_much_less_sure_as_the_config_says(hand, known):
    """Stationary at the variance of the error and, of what is hidden, that of the label besides."""
    posterior, batch = all_but_the_wrist_off(hand, np.array([0.005, 0, 0]))
    batch["joints_cam"] = batch["joints_cam"] + jnp.array([0.0, 0.0, 0.6])
    K = np.array([[80.0, 0, 32], [0, 80, 32], [0, 0, 1]])
    visible = np.arange(64) < 32  # something before the right half, and the lowest row
    visible = np.tile(visible, (2, 64, 1)) & (np.arange(64) < 63)[:, None]
    wrist = np.asarray(batch["joints_cam"])[:, :1]
    true = np.asarray(posterior.vertices.mu) - np.asarray(posterior.joints.mu)[:, :1] + wrist
    true = true - np.array([0.005, 0, 0])

    def is_hidden(points):
        at = np.einsum("ij,bnj->bni", K, points)
        x, y = np.moveaxis(np.floor(at[..., :2] / at[..., 2:]), -1, 0)
        return known * ((x >= 32) | (x < 0) | (y < 0) | (y >= 63))

    batch |= {
        "K": jnp.asarray(np.tile(K, (2, 1, 1))),
        "joints_2d": cameras.project(batch["joints_cam"], jnp.asarray(K)) / 64,
        "visible": jnp.asarray(visible),
        "has_visible": jnp.full(2, known),
    }
    unsure = [is_hidden(np.asarray(points)) for points in (batch["joints_cam"], true)]
    if known:
        assert all(0.05 < each.mean() < 0.95 for each in unsure)
    best = [jnp.log(0.005**2 / 3 + 0.02**2 * each) for each in unsure]

    def nll(joints, vertices):
        outputs = SimpleNamespace(posterior=posterior, spread=Spread(joints, vertices))
        config = LossConfig(occlusion="labels", hidden_sigma=0.02)
        return supervised_nll(outputs, batch, hand, config, 64, count_labels(batch, "supervised"))

    for gradient in jax.grad(nll, (0, 1))(*best):
        np.testing.assert_allclose(gradient, 0, atol=1e-6)
    elsewhere = jax.grad(nll, (0, 1))(*(level + 0.5 for level in best))
    assert (np.asarray(elsewhere[0])[:, 1:] > 1e-3).all()  # of 40 joints
    assert (np.asarray(elsewhere[1])[0] > 1e-5).all()  # of 778 vertices


def test_blur_is_the_deviation_of_the_heat_about_its_mean_beyond_that_of_a_place_that_is_known():
    heat = jax.random.normal(jax.random.key(0), (2, 5, 7, 3)) * 2
    weights, joints = expected(heat)
    found = blur(weights, (5, 7), joints)
    y, x = np.meshgrid((np.arange(5) + 0.5) / 5, (np.arange(7) + 0.5) / 7, indexing="ij")
    for b in range(2):
        for j in range(3):
            w = np.exp(np.asarray(heat[b, :, :, j], np.float64))
            w /= w.sum()
            variance = sum((w * (c - (w * c).sum()) ** 2).sum() for c in (x, y))
            beyond = np.sqrt(max(variance - 1 / 5**2 - 1 / 7**2, 0) + 0.01**2)
            assert found[b, j] == pytest.approx(beyond, rel=1e-3)
    # A Gaussian one cell wide, which `heat_divergence` wants, is of a joint whose place is known.
    y, x = np.meshgrid(np.arange(16) - 7.2, np.arange(16) - 8.6, indexing="ij")
    weights, joints = expected(jnp.asarray(-0.5 * (x**2 + y**2), jnp.float32)[None, ..., None])
    assert blur(weights, (16, 16), joints)[0, 0] == pytest.approx(0.01, abs=0.002)


def test_cues_tell_whose_joints_were_met_how_well():
    rng = np.random.default_rng(0)
    joints = jnp.asarray(rng.normal(0, 0.05, (2, 21, 3)) + [0, 0, 0.5], jnp.float32)
    camera = jnp.asarray([[2.0, 0.5, 2.0, 0.5]] * 2)
    xy = joints[..., :2] / joints[..., 2:] * 2 + 0.5
    depth = (joints[..., 2] / joints[:, :1, 2] - 1) * 2
    one = jnp.ones((2, 21))
    pose = Pose(*(jnp.zeros((3, 2, n)) for n in (9, 45, 10, 3)))
    turns = Turns(pose, jnp.stack([joints + 1, joints + 2, joints]), camera)
    there = Keypoints(xy, depth, one, one)
    met = cues_of(there, turns, 0.1 * one, jnp.array([0.0, 1.0]))
    off, deep, weight, blurred, given = np.split(np.asarray(met), [21, 42, 63, 84], 1)
    np.testing.assert_allclose(off, np.log(0.01) + 3, atol=0.01)
    np.testing.assert_allclose(deep, 0, atol=1e-4)
    np.testing.assert_array_equal(weight, 1)
    np.testing.assert_allclose(blurred, [[np.log(0.1) + 3] * 21, [0] * 21], rtol=1e-5)
    np.testing.assert_array_equal(given, [[0], [1]])
    missed = Keypoints(xy.at[:, 5].add(0.2), depth, one.at[:, 6].set(0), one)
    cues = np.asarray(cues_of(missed, turns, 0.1 * one, jnp.array([0.0, 1.0])))
    assert (cues[:, 5] > met[:, 5] + 1).all() and not cues[:, 42 + 6].any()


def test_the_head_follows_its_cues_and_moves_nothing_else(hand):
    def total(head, g, cues):
        return head(g, hand, cues).joints.sum()

    head = SpreadHead(8, len(hand.v_template), cues=True, rngs=Draws(0))
    g, cues = jax.random.normal(jax.random.key(1), (2, 8)), jnp.ones((2, 85))
    assert np.abs(total(head, g, cues) - total(head, g, 0 * cues)) > 1e-4
    by_g, by_cues = jax.grad(total, (1, 2))(head, g, cues)
    assert not by_g.any() and not by_cues.any()


def test_what_lies_at_a_joint_changes_its_own_variance_and_that_of_vertices_near_it(hand):
    rng = np.random.default_rng(0)
    maps = [jnp.asarray(rng.normal(size=(1, n, n, 8)), jnp.float32) for n in (16, 8)]
    at = jnp.full((1, 21, 2), 0.2).at[0, 8].set(0.7)  # the index finger's tip is elsewhere
    near_head = NearHead(16, rngs=Draws(0))
    assert not near_head(maps, at).any()  # at the start
    near_head.out.kernel[...] = jnp.asarray(rng.normal(size=(32, 1)), jnp.float32)
    # another thing lies there, on both maps
    changed = [m.at[:, m.shape[1] // 2 :].set(jnp.asarray(rng.normal(size=8))) for m in maps]
    before, after = near_head(maps, at), near_head(changed, at)
    moved = np.flatnonzero(np.asarray(before != after))
    np.testing.assert_array_equal(moved, [8])

    head = SpreadHead(4, 778, rngs=Draws(0))
    g = jnp.ones((1, 4))
    plain, told = head(g, hand), head(g, hand, near=before)
    np.testing.assert_allclose(told.joints[:, 1:], plain.joints[:, 1:] + before[:, 1:], rtol=1e-5)
    np.testing.assert_array_equal(told.joints[:, 0], plain.joints[:, 0])
    one, other = (head(g, hand, near=near).vertices for near in (before, after))
    difference = np.abs(np.asarray(one - other))[0]
    assert difference.argmax() in np.flatnonzero(np.asarray(vertex_weights(hand)).argmax(1) == 8)


def test_nothing_that_the_maps_are_made_of_learns_from_it():
    near_head = NearHead(8, rngs=Draws(0))
    near_head.out.kernel[...] = jnp.ones((32, 1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(1, 8, 8, 8)), jnp.float32)
    at = jnp.full((1, 21, 2), 0.4)
    assert not jax.grad(lambda x: near_head([x], at).sum())(x).any()
    of_place = jax.grad(lambda at: near_head([x], at).sum())(at)
    assert not of_place.any()
