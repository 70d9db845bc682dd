"""Feature sampling: the published sampler's recorded values, and what a sampler should do."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference

from amvur_jax.models.texture import axis_taps, sample_map, vertex_features

pytestmark = pytest.mark.usefixtures("highest_precision")
FAR = 71  # the recorded point (100, -50): the published code extrapolates to it and cancels digits


@pytest.fixture(scope="module")
def record():
    return {name: jnp.asarray(value) for name, value in reference.load("feature_align").items()}


def channels_last(maps):
    return maps.transpose(0, 2, 3, 1)


def check(ours, expected, atol):
    near = np.arange(ours.shape[1]) != FAR
    np.testing.assert_allclose(ours[:, near], expected[:, near], atol=atol)
    np.testing.assert_allclose(ours[:, FAR], expected[:, FAR], atol=1e-3)


def test_published_sampler_equals_the_recorded_one(record):
    def sample(map0, map1, points):
        return jnp.concatenate([sample_map(m, points, quirks=True) for m in (map0, map1)], -1)

    arguments = channels_last(record["map0"]), channels_last(record["map1"]), record["points"]
    check(sample(*arguments), record["out"], 5e-5)
    gradients = jax.grad(lambda *a: jnp.sum(sample(*a) * record["loss_w"]), (0, 1, 2))(*arguments)
    to_map0, to_map1, to_points = gradients
    for gradient, name in ((to_map0, "grad_map0"), (to_map1, "grad_map1")):
        expected = channels_last(record[name])
        atol = 1e-4 * float(jnp.abs(expected).max())
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=atol, err_msg=name)
    np.testing.assert_allclose(to_points, record["grad_points"], rtol=1e-4, atol=2e-5)


def test_published_scaling_equals_the_recorded_one(record):
    """feature_align scales x by the map's height and y by its width: the same on square maps."""
    features, points = channels_last(record["map0"]), record["points"]
    scale = jnp.array(features.shape[1:3]) / 56
    ours = sample_map(features, points * scale, quirks=True)
    check(ours, record["align_map0_orisize56"].transpose(0, 2, 1), 5e-5)


def test_quirk_2_right_sampler_clamps_to_the_border(record):
    """The published file's slow sampler clamps; its fast one weighs points outside twice."""
    features, points = channels_last(record["map0"]), record["points"]
    right = record["scalar_bilinear_map0"].transpose(0, 2, 1)
    check(sample_map(features, points), right, 1e-5)
    outside = np.asarray((points < 0.5).any(-1))
    published = sample_map(features, points, quirks=True)
    assert 10 < outside.sum() < outside.size
    assert np.abs(published - right)[outside].max() > 1
    check(jnp.where(outside[..., None], right, published), right, 1e-3)


@pytest.mark.parametrize(("quirks", "weight"), [(False, 1.0), (True, 2.0)])
def test_quirk_2_weights_sum_to_one_and_as_published_to_two_before_the_map(quirks, weight):
    u = jnp.array([-30.0, -0.01, 0.0, 3.3, 6.0, 6.5, 99.0])
    taps = axis_taps(u, 7, quirks=quirks)
    np.testing.assert_allclose(sum(w for _, w in taps), [weight, weight, 1, 1, 1, 1, 1], rtol=1e-6)
    ones = sample_map(jnp.ones((1, 7, 7, 1)), jnp.array([[[-2.0, -2.0]]]), quirks=quirks)
    assert float(ones.squeeze()) == weight**2


def coordinate_map(size):
    """(1,size,size,2): every pixel holds its centre's position in [0,1] of the crop."""
    centres = (jnp.arange(size) + 0.5) / size
    return jnp.stack(jnp.meshgrid(centres, centres), -1)[None]


def test_quirk_1_right_features_are_those_at_the_points_own_place():
    maps = [coordinate_map(size) for size in (56, 28, 14)]
    positions = jax.random.uniform(jax.random.key(0), (1, 50, 2), minval=0.1, maxval=0.9)
    right = vertex_features(maps, positions)
    np.testing.assert_allclose(right, jnp.tile(positions, 3), atol=1e-6)
    # perspective: [0,1] taken for pixels, so that all features are those of the top left corner
    corner = vertex_features(maps, positions, 1.0, quirks=False)
    assert np.all(np.asarray(corner)[..., :2] < 0.03)
    # weak perspective: pixels of the crop on each map, beyond its border for most of the crop
    crop = vertex_features(maps, positions, 224.0, quirks=True)
    beyond = np.asarray(positions) * 224 > 14
    np.testing.assert_allclose(np.asarray(crop)[..., 4:][beyond], 1 - 0.5 / 14, rtol=1e-6)
    np.testing.assert_allclose(
        jnp.concatenate([sample_map(m, positions * 224, quirks=True) for m in maps], -1), crop
    )


def test_sampling_is_linear_between_centres_and_has_its_slope():
    features = coordinate_map(8)
    points = jnp.array([[[2.2, 5.7], [0.5, 7.5], [-3.0, 4.0], [9.0, 4.0]]])
    sampled = sample_map(features, points)
    np.testing.assert_allclose(sampled, jnp.clip(points / 8, 0.5 / 8, 7.5 / 8), atol=1e-6)
    slope = jax.vmap(jax.grad(lambda p: sample_map(features, p[None, None]).sum()))(points[0])
    np.testing.assert_allclose(
        slope, [[1 / 8, 1 / 8], [1 / 8, 0], [0, 1 / 8], [0, 1 / 8]], atol=1e-6
    )
