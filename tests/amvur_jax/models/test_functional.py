"""The network as functions."""

import jax
from tiny import tiniest_config

from amvur_jax import configuration


def test_shapes_are_those_of_a_fresh_state():
    network = configuration.network(tiniest_config(""))
    wanted = network.init(0)
    assert jax.tree.structure(network.shapes) == jax.tree.structure(wanted)
    for found, want in zip(jax.tree.leaves(network.shapes), jax.tree.leaves(wanted)):
        assert (found.shape, found.dtype) == (want.shape, want.dtype)


def test_a_state_is_its_seeds():
    network = configuration.network(tiniest_config(""))
    first, again, other = (jax.tree.leaves(network.init(seed)) for seed in (3, 3, 4))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    drawn = [(a != b).any() for a, b in zip(first, other, strict=True)]
    assert all(changed for changed, a in zip(drawn, first) if a.ndim > 1 and a.any())
