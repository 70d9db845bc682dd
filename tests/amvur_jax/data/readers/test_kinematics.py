"""The hand model in numpy against the one in JAX."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from amvur_jax.data.readers.kinematics import Skin
from mano_jax import load_hand


@pytest.mark.parametrize("seed", [0, 1])
def test_the_skin_is_the_models_without_its_pose_correctives(seed):
    rng, hand = np.random.default_rng(seed), load_hand()
    pose, betas = rng.normal(0, 0.5, 48), rng.normal(0, 1, 10)
    plain = dataclasses.replace(hand, posedirs=jnp.zeros_like(hand.posedirs))
    posed = plain.with_shape(jnp.asarray(betas, jnp.float32))
    posed = posed.with_pose(jnp.asarray(pose.reshape(16, 3), jnp.float32))
    skin = Skin(hand)
    np.testing.assert_allclose(skin.vertices(pose, betas), posed.vertices, atol=2e-6)
    np.testing.assert_allclose(skin.joints(pose, betas), posed.joints, atol=2e-6)
