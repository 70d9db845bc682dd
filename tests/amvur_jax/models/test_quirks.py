"""The published defects: what `published_quirks` reproduces, and what is right without it.

Quirks 1 and 2, of the sampler, are in test_texture.py; quirk 8, a variance, is in test_cameras.py.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from amvur_jax.models import cameras
from amvur_jax.models.amvur import normal_noise
from amvur_jax.models.functional import Network
from amvur_jax.models.outputs import Gaussian
from amvur_jax.models.prior import hand_pass
from amvur_jax.training import losses

pytestmark = pytest.mark.usefixtures("highest_precision")

SIZE, FEATURES = 224, 2048


@functools.cache
def network(camera, quirks):
    config = dataclasses.replace(
        reference.SMALL, camera=camera, published_quirks=quirks, fingertips="manopth"
    )
    return Network(config)


@pytest.fixture(scope="module")
def state(small_state):
    """The recorded network's parameters, for both cameras and both sides of the switch."""
    return small_state


@pytest.fixture(scope="module")
def joints():
    """Prior and posterior joints, (2,21,3) Gaussians of a few centimetres at 0.6 m."""

    def make(key):
        keys = jax.random.split(key, 2)
        mu = jax.random.normal(keys[0], (2, 21, 3)) * 0.05 + jnp.array([0.02, -0.01, 0.6])
        log_var = 2 * jnp.log(0.003) + 0.5 * jax.random.normal(keys[1], (2, 21, 3))
        return Gaussian(mu, mu, log_var)

    return make(jax.random.key(0)), make(jax.random.key(1))


def seen(camera, quirks, state, joints, noise=None):
    """(camera, prior 2D, posterior 2D) as numpy, of a random global feature."""
    g = jax.random.normal(jax.random.key(2), (2, FEATURES))
    noise = noise or reference.constant_noise(0.0)
    result, _ = network(camera, quirks).apply(state, g, *joints, noise, method="see")
    return jax.tree.map(np.asarray, result)


def sampled_variance(joints, image_of):
    """Variance of the 2D image of random joints, in float64."""
    g = np.random.default_rng(0)
    mu, log_var = np.float64(joints.mu), np.float64(joints.log_var)
    points = mu + np.exp(log_var / 2) * g.standard_normal((5_000, *mu.shape))
    return image_of(points).var(0)


def test_quirk_3_variance_is_of_the_unit_that_the_means_have(state, joints):
    camera, *ours = seen("perspective", False, state, joints)
    _, *published = seen("perspective", True, state, joints)
    K = np.float64(cameras.intrinsics(camera.mu, SIZE))

    def image_of(points):
        image = np.einsum("bij,sbnj->sbni", K, points)
        return image[..., :2] / image[..., 2:] / SIZE

    for gaussian, right, quirk in zip(joints, ours, published):
        expected = sampled_variance(gaussian, image_of)
        np.testing.assert_allclose(np.exp(right.log_var), expected, rtol=0.1)
        in_px = cameras.project_log_var(gaussian.mu, gaussian.log_var, jnp.asarray(K), quirks=True)
        np.testing.assert_allclose(quirk.log_var, in_px / SIZE, rtol=1e-4)
        # published: sigma near 1, a whole crop, whatever the joints' own sigma
        assert np.median(np.exp(quirk.log_var / 2)) > 50 * np.median(np.exp(right.log_var / 2))


def test_quirk_4_weak_perspective_prior_variance(state, joints):
    camera, prior, posterior = seen("weak_perspective", False, state, joints)
    _, published, published_posterior = seen("weak_perspective", True, state, joints)

    def image_of(points):
        return np.abs(camera[:, None, :1]) * (points[..., :2] + camera[:, None, 1:])

    for gaussian, ours in zip(joints, (prior, posterior)):
        expected = sampled_variance(gaussian, image_of)
        np.testing.assert_allclose(np.exp(ours.log_var), expected, rtol=0.1)
    np.testing.assert_array_equal(published_posterior.log_var, posterior.log_var)
    g = jax.random.normal(jax.random.key(2), (2, FEATURES))
    head = state["params"]["prior"]["weak_camera_log_var"]
    hidden = g @ head["hidden"]["kernel"] + head["hidden"]["bias"]
    v = (hidden @ head["out"]["kernel"] + head["out"]["bias"])[:, None]
    expected = jnp.abs(v[..., :1]) * (joints[0].log_var[..., :2] + v[..., 1:])
    np.testing.assert_allclose(published.log_var, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(published.log_var - prior.log_var).max() > 1


def test_quirk_6_means_are_projected_by_the_mean_camera(state, joints):
    for quirks in (False, True):
        camera, *estimates = seen(
            "perspective", quirks, state, joints, reference.constant_noise(0.7)
        )
        assert np.abs(camera.sample - camera.mu).min() > 1e-3
        K = cameras.intrinsics(camera.sample if quirks else camera.mu, SIZE)
        for gaussian, ours in zip(joints, estimates):
            expected = cameras.project(gaussian.mu, K) / SIZE
            np.testing.assert_allclose(ours.mu, expected, rtol=1e-5, atol=1e-6)


def test_quirk_5_render_and_projection_agree(state):
    """The drawn pixels' box is that of the projected vertices; as published it is smaller."""
    hand, camera = reference.hand(), jnp.array([[6.0, 0.02, -0.03], [5.0, -0.03, 0.04]])
    points, _ = hand_pass(hand, jnp.zeros((2, 3)), jnp.zeros((2, 30)), None)
    vertices = points[:, 21:] - points[:, 21:].mean(1, keepdims=True) + jnp.array([0, 0, 0.65])
    projected = np.asarray(1 + cameras.project_weak(vertices, camera)) / 2 * SIZE
    maps = [jnp.zeros((2, SIZE // s, SIZE // s, 4 * s)) for s in (4, 8, 16)]
    spans = {}
    for quirks in (False, True):
        render = functools.partial(
            network("weak_perspective", quirks).apply, method="texture_and_render"
        )
        texture, _ = jax.jit(render)(state, maps, vertices, camera, hand)
        for i in range(2):
            rows, columns = np.nonzero(np.asarray(texture.mask)[i])
            low = np.array([columns.min(), rows.min()])
            high = np.array([columns.max(), rows.max()]) + 1
            spans[quirks, i] = high - low
            if not quirks:  # what is left is the perspective of a hand 15 cm deep, and half pixels
                np.testing.assert_allclose(low, projected[i].min(0), atol=2.5)
                np.testing.assert_allclose(high, projected[i].max(0), atol=2.5)
    for i, scale in enumerate((6.0, 5.0)):
        depth = 2000 / (224 * scale)
        shrunk = spans[False, i] * depth / (depth + 0.65)
        np.testing.assert_allclose(spans[True, i], shrunk, atol=3)
        assert (spans[True, i] < 0.85 * spans[False, i]).all()


@pytest.mark.parametrize(("quirks", "tip"), [(False, 444), (True, 445)])
def test_quirk_7_middle_fingertip(quirks, tip):
    """Right: the network's tips are those of the layer that makes the labels."""
    hand, preset = reference.hand(), network("perspective", quirks).config.regressor_tips
    posed = hand.with_shape().with_pose(jnp.full((16, 3), 0.2))
    regressed = hand.joint_regressor_21(preset) @ posed.vertices
    np.testing.assert_allclose(regressed[12], posed.vertices[tip], atol=1e-7)
    tips = np.array([4, 8, 12, 16, 20])
    label = posed.joints_21("manopth")
    distance = np.linalg.norm(np.asarray(regressed - label)[tips], axis=-1)
    np.testing.assert_array_equal(distance > 1e-6, [False, False, quirks, False, False])


def test_quirk_9_gradient_at_zero_rotation_is_the_limit():
    """Finite with and without the switch: the published NaN is reproduced nowhere."""
    hand = reference.hand()
    weights = jax.random.normal(jax.random.key(0), (1, 799, 3))

    @jax.jit
    def gradient(rotation):
        def loss(rotation):
            points, _ = hand_pass(hand, rotation, jnp.zeros((1, 30)), None)
            return jnp.sum(points * weights)

        return jax.grad(loss)(rotation)

    at_zero = gradient(jnp.zeros((1, 3)))
    assert np.isfinite(at_zero).all()
    for sign in (1, -1):
        near = gradient(sign * jnp.array([[1e-3, -1e-3, 1e-3]]))
        np.testing.assert_allclose(at_zero, near, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("camera", ["perspective", "weak_perspective"])
def test_degenerate_hands_have_finite_values_and_gradients(state, camera):
    """No rotation, the flat hand, and all posterior joints on one spot of the camera's axis."""
    hand, regressor = reference.hand(), reference.hand().joint_regressor_21("manopth")
    spot = jnp.array([0.0, 0.0, 0.65])
    flat = -hand.mean_pose @ hand.components.T

    def values(rotation, coefficients, points):
        mesh, pose = hand_pass(hand, rotation, coefficients, None)
        log_var = cameras.regressed_log_var(regressor, mesh[:, 21:] - 7)
        prior = Gaussian(None, regressor @ mesh[:, 21:] + spot, log_var)
        posterior = Gaussian(None, points, log_var)
        g = jnp.zeros((2, FEATURES))
        (view, *images), _ = network(camera, False).apply(
            state, g, prior, posterior, normal_noise(jax.random.key(0)), method="see"
        )
        target = jnp.full((2, 21, 2), 0.5)
        terms = [losses.keypoint_2d(image.sample, target, jnp.ones((2, 21))) for image in images]
        terms += [losses.kl_joints(*posterior[1:], *prior[1:]), losses.tsa_pose(pose)]
        p, q = images
        terms += [losses.kl_gaussian(q.mu, q.log_var, p.mu, p.log_var)]
        return sum(terms), (view, images, terms)

    arguments = jnp.zeros((2, 3)), jnp.tile(flat, (2, 1)), jnp.tile(spot, (2, 21, 1))
    gradient = jax.jit(jax.value_and_grad(values, (0, 1, 2), has_aux=True))
    results = gradient(*arguments)
    assert jax.tree.all(jax.tree.map(lambda x: bool(jnp.isfinite(x).all()), results))
    if camera == "perspective":  # the published variance divides by the mean's x and y
        on_axis = Gaussian(None, arguments[2], jnp.zeros((2, 21, 3)))
        _, published, _ = seen(camera, True, state, (on_axis, on_axis))
        assert not np.isfinite(published.log_var).any()
