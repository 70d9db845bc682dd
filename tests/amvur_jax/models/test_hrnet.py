"""The backbone against recorded outputs, and its sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference
from flax import nnx

from amvur_jax.models.functional import split_state
from amvur_jax.models.hrnet import HRNet, HRNetSize, upsample_nearest
from amvur_jax.models.initial import Draws

pytestmark = pytest.mark.usefixtures("highest_precision")


@pytest.fixture(scope="module")
def record():
    return reference.load("hrnet")


def run(size, state, image, train=False):
    """(pooled, maps), new batch statistics."""

    @jax.jit
    def call(params, stats, image):
        model = reference.part(lambda: HRNet(size, rngs=Draws(0)), params, stats)
        return model(image, train), split_state(model)["batch_stats"]

    return call(state["params"]["backbone"], state["batch_stats"]["backbone"], image)


def test_small_backbone_equals_the_recorded_one(small_state, record):
    (pooled, maps), stats = run(reference.SMALL.backbone, small_state, reference.images(1, 7))
    assert len(maps) == 3
    np.testing.assert_allclose(pooled, record["small_pooled"], atol=2e-5)
    for i, ours in enumerate(maps):
        expected = record[f"small_branch{i}"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(ours, expected, atol=5e-5, err_msg=f"map {i}")
    before = small_state["batch_stats"]["backbone"]
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), stats, before))


def test_batch_statistics_after_one_step_equal_the_recorded_ones(small_state, record):
    image = reference.images(2, int(record["small_train_image_seed"]))
    (pooled, _), stats = run(reference.SMALL.backbone, small_state, image, train=True)
    np.testing.assert_allclose(pooled, record["small_train_pooled"], atol=1e-4)
    names = [name for name in record if name.startswith("small_train_after.")]
    assert len(names) == 6
    for name in names:
        key = "backbone." + name.removeprefix("small_train_after.")
        ours = reference.parameter({"backbone": stats}, key, record[name])
        np.testing.assert_allclose(ours, record[name], rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_published_size_equals_the_recorded_backbone(full_state, record):
    (pooled, maps), _ = run(HRNetSize(), full_state, reference.images(1, 7))
    assert len(maps) == 3
    np.testing.assert_allclose(pooled, record["w64_pooled"], atol=5e-5)
    for i, ours in enumerate(maps):
        channels_first = np.asarray(ours).transpose(0, 3, 1, 2)
        assert channels_first.shape == tuple(record[f"w64_branch{i}_shape"])
        for statistic, value in (
            ("mean", channels_first.mean()),
            ("std", channels_first.std()),
            ("chmean", channels_first.mean((2, 3))),
            ("val", channels_first.ravel()[record[f"w64_branch{i}_idx"]]),
        ):
            expected = record[f"w64_branch{i}_{statistic}"]
            np.testing.assert_allclose(value, expected, rtol=1e-4, atol=3e-4, err_msg=statistic)


def test_w18_has_the_official_number_of_parameters():
    shapes = nnx.eval_shape(lambda: split_state(HRNet(HRNetSize(width=18), rngs=Draws(None))))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes["params"]))
    assert count + 2049 * 1000 == 21_299_004  # the official classifier, its last layer included


def test_nearest_upsampling_repeats_pixels():
    x = jnp.arange(6.0).reshape(1, 2, 3, 1)
    expected = np.repeat(np.repeat(np.asarray(x), 4, 1), 4, 2)
    np.testing.assert_array_equal(upsample_nearest(x, 4), expected)
