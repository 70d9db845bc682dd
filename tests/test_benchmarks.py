"""What the benchmarks compare is comparable."""

import itertools

import pytest

from benchmarks import learning

EQUAL = (
    "backbone",
    "hidden",
    "hidden",
    "layers",
    "heads",
    "dropout",
    "image_size",
    "crop_scale",
    "outputs",
)


@pytest.mark.parametrize("mode", learning.RECIPES)
def test_recipes_learn_with_the_same_network_from_as_many_pictures(mode):
    runs = {recipe: learning.variant(mode, recipe, 100_000) for recipe in learning.RECIPES[mode]}
    assert {run.train.steps * run.train.batch_size for run in runs.values()} == {100_000}
    for one, other in itertools.pairwise(runs.values()):
        assert one.data == other.data
        assert {name: one.model[name] for name in EQUAL} == {n: other.model[n] for n in EQUAL}
    assert runs["published"].model.pose_head == "published"
    assert runs["ours"].model.pose_head == "residual"
