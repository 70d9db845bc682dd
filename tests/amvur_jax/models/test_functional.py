"""The network as functions."""

import jax
import numpy as np
from flax import nnx

from amvur_jax.models.functional import Keys


def test_keys_are_those_of_nnx():
    ours, theirs = Keys(jax.random.key(3)), nnx.Rngs(params=jax.random.key(3))
    for _ in range(3):
        got, want = (jax.random.key_data(keys.params()) for keys in (ours, theirs))
        np.testing.assert_array_equal(got, want)
