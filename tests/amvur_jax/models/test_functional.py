"""The network as functions."""

import jax
import numpy as np
from flax import nnx
from tiny import tiniest_config

from amvur_jax import configuration
from amvur_jax.models.functional import Keys


def test_keys_are_those_of_nnx():
    ours, theirs = Keys(jax.random.key(3)), nnx.Rngs(params=jax.random.key(3))
    for _ in range(3):
        got, want = (jax.random.key_data(keys.params()) for keys in (ours, theirs))
        np.testing.assert_array_equal(got, want)


def test_shapes_are_those_of_a_fresh_state():
    network = configuration.network(tiniest_config(""))
    wanted = jax.eval_shape(network.init, jax.random.key(0))
    assert jax.tree.structure(network.shapes) == jax.tree.structure(wanted)
    for found, want in zip(jax.tree.leaves(network.shapes), jax.tree.leaves(wanted)):
        assert (found.shape, found.dtype) == (want.shape, want.dtype)
