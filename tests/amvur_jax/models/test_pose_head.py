"""The laws of the residual pose head: rotations, the place before the camera, and whose joints it sees."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import supervised_tiny_config, tiny_config

from amvur_jax import configuration, inference
from amvur_jax.models.pose_head import Keypoints, placed, rotation_of, taken
from mano_jax.rotations import rotation_matrix

SIZE = 32


def residual(config, keypoints):
    config.model.pose_head = "residual"
    config.model.keypoints = keypoints
    config.model.keypoint_head = keypoints != "given"
    config.model.pose_hidden = 32
    config.loss.pose = 1.0
    config.loss.keypoint_map = float(config.model.keypoint_head)
    configuration.check(config)
    return inference.untrained(configuration.to_dict(config))


@pytest.fixture(scope="module")
def either():
    return residual(tiny_config(""), "either")


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (3, SIZE, SIZE, 3), dtype=np.uint8)


JOINTS = np.random.default_rng(1).uniform(5, 27, (3, 21, 2))


def test_two_columns_make_the_rotation_that_they_are_of():
    rotation = rotation_matrix(jnp.asarray(np.random.default_rng(0).normal(size=(50, 3)) * 2))
    columns = jnp.moveaxis(rotation[..., :2], -1, -2).reshape(50, 6)
    np.testing.assert_allclose(rotation_of(columns), rotation, atol=1e-5)


def test_any_six_numbers_make_a_rotation():
    matrix = rotation_of(jnp.asarray(np.random.default_rng(1).normal(size=(200, 6))))
    eye = np.broadcast_to(np.eye(3), (200, 3, 3))
    np.testing.assert_allclose(matrix @ jnp.swapaxes(matrix, -1, -2), eye, atol=1e-4)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-4)


def to_jax(array):
    return jnp.asarray(array, jnp.float32)


@pytest.mark.parametrize(("kind", "tolerance"), [(np.asarray, 1e-5), (to_jax, 2e-3)])
def test_a_hand_is_put_where_it_was_seen(kind, tolerance):
    rng = np.random.default_rng(2)
    points = rng.normal(0, 0.05, (20, 21, 3))
    translation = np.column_stack([rng.normal(0, 0.1, (20, 2)), rng.uniform(0.3, 2, 20)])
    camera = np.column_stack([rng.uniform(1, 5, 20), *rng.uniform(0.3, 0.7, (1, 20))] * 2)
    moved = points + translation[:, None]
    xy = moved[..., :2] / moved[..., 2:] * camera[:, None, ::2] + camera[:, None, 1::2]
    weight = (rng.random((20, 21)) < 0.7).astype(float)
    xy[weight == 0] = 9.0  # what is missing is not looked at
    found = placed(*map(kind, (points, xy, weight, camera)))
    assert type(found) is type(kind(points))  # numpy's stay numpy's, with nothing to compile
    np.testing.assert_allclose(found, translation, rtol=tolerance, atol=tolerance / 20)


def test_given_joints_reach_the_head_and_missing_ones_do_not(either, images):
    own = either(images, paint=0)
    given = either(images, paint=0, joints=JOINTS)
    assert np.abs(given.prior.joints.mu - own.prior.joints.mu).max() > 1e-3
    some = JOINTS.copy()
    some[0, 4] = np.nan
    some[2] = np.nan  # none at all: the map's own
    partly = either(images, paint=0, joints=some)
    np.testing.assert_allclose(partly.prior.joints.mu[1], given.prior.joints.mu[1], atol=1e-6)
    np.testing.assert_allclose(partly.prior.joints.mu[2], own.prior.joints.mu[2], atol=1e-6)
    other = some.copy()
    other[0, 4] = [np.nan, 3.0]
    again = either(images, paint=0, joints=other)
    np.testing.assert_array_equal(again.prior.joints.mu, partly.prior.joints.mu)
    # the map is the picture's, whoever else saw the joints
    np.testing.assert_array_equal(given.joints_2d_map, own.joints_2d_map)


def test_depth_is_optional(either, images):
    flat = either(images, paint=0, joints=JOINTS)
    deep = either(images, paint=0, joints=JOINTS, depth=np.full((3, 21), np.nan))
    np.testing.assert_array_equal(flat.prior.joints.mu, deep.prior.joints.mu)
    deep = either(images, paint=0, joints=JOINTS, depth=np.linspace(-5, 5, 63).reshape(3, 21))
    assert np.abs(flat.prior.joints.mu - deep.prior.joints.mu).max() > 1e-5


def test_depths_of_the_map_are_told_only_where_they_are_learnt():
    """Whatever the depth head holds, a network that does not tell its depths answers the same."""
    one, joints = jnp.ones((2, 21)), jnp.asarray(JOINTS[:2]) / SIZE
    told = taken(None, None, (joints, 3 * one, 0 * one))
    np.testing.assert_array_equal(told.depth_weight, 1)
    untold = taken(None, None, (joints, 3 * one, 0 * one), with_depth=False)
    np.testing.assert_array_equal(untold.depth_weight, 0)
    np.testing.assert_array_equal(untold.weight, 1)


def test_the_answer_lies_on_the_given_joints_as_a_whole(either, images):
    """The head is not trained, but its place is the one from which the joints spread as they were given."""
    xy = np.asarray(either.joints_2d(either(images, paint=0, joints=JOINTS))) * SIZE
    np.testing.assert_allclose(xy.mean(1), JOINTS.mean(1), atol=1.5)
    spread, wanted = (np.sqrt(p.var(1).sum(-1)) for p in (xy, JOINTS))
    np.testing.assert_allclose(spread, wanted, rtol=0.2)


@pytest.mark.parametrize(
    ("joints", "depth", "message"),
    [
        (JOINTS[:, :20], None, r"joints are \(3, 21, 2\)"),
        (JOINTS[:2], None, r"joints are \(3, 21, 2\)"),
        (JOINTS, np.zeros((3, 20)), r"depth is \(3, 21\)"),
    ],
)
def test_joints_of_another_count_are_refused(either, images, joints, depth, message):
    with pytest.raises(ValueError, match=message):
        either(images, paint=0, joints=joints, depth=depth)


def test_a_network_without_a_map_needs_joints(images):
    blind = residual(tiny_config(""), "given")
    with pytest.raises(ValueError, match="give `joints`"):
        blind(images, paint=0)
    some = JOINTS.copy()
    some[1] = np.nan
    with pytest.raises(ValueError, match="sample 1 has no joint"):
        blind(images, paint=0, joints=some)
    assert np.isfinite(blind(images, paint=0, joints=JOINTS).prior.joints.mu).all()


def test_a_network_of_its_own_joints_takes_none(images):
    with pytest.raises(ValueError, match="takes no joints"):
        inference.untrained(configuration.to_dict(tiny_config("")))(images, 0, joints=JOINTS)


def test_skeletons_beside_the_pictures_do_not_change_them(either, images):
    one = jnp.ones((5, 21))
    more = Keypoints(jnp.asarray(np.random.default_rng(3).random((5, 21, 2))), 0 * one, one, one)
    apply = jax.jit(
        lambda skeletons: either.network.apply(
            either.state, images.astype(np.float32) / 255, either.hand, paint=0, skeletons=skeletons
        )[0]
    )
    alone, beside = apply(None), apply(more)
    np.testing.assert_allclose(alone.prior.joints.mu, beside.prior.joints.mu, atol=1e-6)
    assert beside.turns.joints.shape[:2] == (alone.turns.joints.shape[0], 3 + 5)


def test_the_weak_perspective_camera_sees_the_hand_where_its_joints_are(images):
    predictor = residual(supervised_tiny_config(""), "either")
    outputs = predictor(images, paint=0, joints=JOINTS)
    prior = outputs.prior
    np.testing.assert_allclose(prior.joints.mu[:, 0], 0, atol=0.003)  # on its wrist
    xy = (np.asarray(prior.joints_2d.mu) + 1) / 2 * SIZE
    np.testing.assert_allclose(xy.mean(1), JOINTS.mean(1), atol=1.5)
