"""What samples of one sequence should agree in: when it is nothing, whom it pulls where, and how hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from amvur_jax.models.outputs import Outputs
from amvur_jax.training import losses
from amvur_jax.training.sequences import SEQUENCE_TERMS, sequence_terms

# Two sequences, a sample of none, one that shows no hand.
SEQUENCE = np.array([3, 3, 3, 0, 0, -1, -1, 3], np.int32)
HAS = np.array([1, 1, 1, 1, 1, 1, 1, 0], np.float32)
TIME = np.array([0.0, 0.5, 1.0, 2.0, 2.1, 0.0, 0.0, 0.0], np.float32)


def values(*shape):
    return jax.random.normal(jax.random.key(0), (len(HAS), *shape))


def test_companions_are_other_samples_of_the_same_sequence_that_show_a_hand():
    beside = losses.companions(jnp.asarray(SEQUENCE), jnp.asarray(HAS))
    wanted = np.zeros((8, 8))
    for i, j in ((0, 1), (0, 2), (1, 2), (3, 4)):
        wanted[i, j] = wanted[j, i] = 1
    np.testing.assert_array_equal(beside, wanted)


def test_of_one_sequence_it_is_the_variance_about_its_mean():
    beside = losses.companions(jnp.zeros(8, jnp.int32), jnp.ones(8))
    found = losses.differences(values(4, 3), beside)
    assert float(found) == pytest.approx(np.asarray(values(4, 3)).var(0, ddof=1).mean(), rel=1e-5)


def test_equal_samples_of_a_sequence_cost_nothing_whatever_the_others_are():
    x = np.array(values(10))
    x[:3], x[3:5] = x[0], x[3]
    beside = losses.companions(jnp.asarray(SEQUENCE), jnp.asarray(HAS))
    assert float(losses.differences(jnp.asarray(x), beside)) == 0
    x[1] += 0.1
    assert float(losses.differences(jnp.asarray(x), beside)) > 0


def test_the_gradient_pulls_samples_of_a_sequence_towards_each_other_and_leaves_the_others():
    beside = losses.companions(jnp.asarray(SEQUENCE), jnp.asarray(HAS))
    x = values(10)
    pull = -jax.grad(lambda x: losses.differences(x, beside))(x)
    for i, j in ((0, 1), (3, 4)):
        if i == 3:  # of two, straight to the other one
            np.testing.assert_allclose(pull[i] / pull[i, 0], (x[j] - x[i]) / (x[j] - x[i])[0], 1e-4)
    mean = x[:3].mean(0)
    for i in range(3):  # of three, to their mean
        assert float(pull[i] @ (mean - x[i])) > 0.99 * float(
            jnp.linalg.norm(pull[i]) * jnp.linalg.norm(mean - x[i])
        )
    assert not np.asarray(pull[5:]).any()


def terms_of(fingers, betas, time=TIME):
    """The terms of the network's fingers (8,15,3) and betas (8,10)."""
    pose = jnp.concatenate([jnp.zeros((len(HAS), 1, 3)), fingers], 1)
    outputs = Outputs(**dict.fromkeys(Outputs._fields) | {"betas": betas, "tsa_poses": pose})
    batch = {"sequence": SEQUENCE, "time": time, "has_image": HAS}
    batch = {name: jnp.asarray(value) for name, value in batch.items()}
    return {name: float(x) for name, x in sequence_terms(outputs, batch, HAS.sum()).items()}


def same_hands():
    """Fingers and betas that are the same all through a sequence."""
    of = np.array([0, 0, 0, 1, 1, 2, 3, 4])
    return values(15, 3)[of], values(10)[of]


def test_each_term_is_of_its_own_quantity_and_of_nothing_else():
    fingers, betas = same_hands()
    assert terms_of(fingers, betas) == dict.fromkeys(SEQUENCE_TERMS, 0.0)
    bent = terms_of(fingers.at[1].add(0.3), betas)
    assert bent["same_shape"] == 0 < bent["smooth_pose"]
    grown = terms_of(fingers, betas.at[1].add(1.0))
    assert grown["smooth_pose"] == 0 < grown["same_shape"]
    for i in (5, 7):  # of no sequence, without a hand
        other = terms_of(fingers.at[i].add(1.0), betas.at[i].add(1.0))
        assert other == dict.fromkeys(SEQUENCE_TERMS, 0.0)


def test_fingers_far_apart_in_time_may_differ_more():
    fingers, betas = same_hands()
    # Sample 0 is half a span and a whole one from its companions, sample 3 a tenth of one from its only one.
    far, near = (terms_of(fingers.at[i].add(0.3), betas)["smooth_pose"] for i in (0, 3))
    # Each pair counts in the mean of both, over two companions and over one; half of each square.
    square, count = 0.3**2, HAS.sum()
    assert far == pytest.approx(square * (np.exp(-0.5) + np.exp(-1.0)) / 2 / count, rel=1e-4)
    assert near == pytest.approx(square * np.exp(-0.1) / count, rel=1e-4)
    # Shape is the same at any time.
    grown = [terms_of(fingers, betas.at[0].add(1.0), t)["same_shape"] for t in (TIME, 0 * TIME)]
    assert grown[0] == grown[1] > 0
