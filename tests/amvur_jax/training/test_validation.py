"""The scores on the device against those of record."""

import jax.numpy as jnp
import numpy as np
import pytest
from eval_case import arrays

from amvur_jax.scoring.scores import Scores, summarize
from amvur_jax.training.validation import batch_sums, nearest_distances


@pytest.mark.parametrize("dataset", ["ho3d", "freihand"])
def test_they_agree_with_the_scores_of_record(dataset):
    case = arrays()
    scores = Scores(dataset)
    scores.add(*case)
    want = scores.summary()
    # two samples more, which do not count
    padded = [jnp.asarray(np.concatenate([x, x[:2] + 1]), jnp.float32) for x in case]
    sums = batch_sums(*padded, jnp.arange(22) < 20, dataset)
    f = {name: value / 20 for name, value in sums["f"].items()}
    found = summarize(sums["totals"], sums["counts"], f, int(sums["samples"]), dataset)
    assert list(found) == list(want)
    for key, value in want.items():
        tolerance = 1e-3 if key.endswith("_mm") else 1e-4 if key.endswith("mean3d") else 1e-3
        assert found[key] == pytest.approx(value, abs=tolerance), key


def test_nearest_distances_against_every_pair():
    a, b = np.random.default_rng(0).normal(size=(2, 9, 3))
    pairs = np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b[:5]] for x in a])
    to_b, to_a = nearest_distances(jnp.asarray(a), jnp.asarray(b[:5]))
    np.testing.assert_allclose(to_b, pairs.min(1), rtol=1e-5)
    np.testing.assert_allclose(to_a, pairs.min(0), rtol=1e-5)
