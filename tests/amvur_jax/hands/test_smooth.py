"""One-Euro against its paper's algorithm, a number at a time, and laws of a filter."""

import math

import numpy as np
from scipy.spatial.transform import Rotation

from amvur_jax.hands.smooth import OneEuro

RNG = np.random.default_rng(0)
TIMES = np.cumsum(RNG.uniform(0.02, 0.06, 60))


def run(one_euro, points, times=TIMES, unit=1.0):
    return np.stack([one_euro(p, t, unit) for p, t in zip(points, times)])


def published(values, times, min_cutoff, beta, d_cutoff):
    """Algorithm 1 of Casiez et al., of one number."""

    def alpha(cutoff, step):
        tau = 1 / (2 * math.pi * cutoff)
        return 1 / (1 + tau / step)

    found, speed = [values[0]], 0.0
    for i in range(1, len(values)):
        step = times[i] - times[i - 1]
        a = alpha(d_cutoff, step)
        speed = a * (values[i] - values[i - 1]) / step + (1 - a) * speed
        a = alpha(min_cutoff + beta * abs(speed), step)
        found.append(a * values[i] + (1 - a) * found[-1])
    return np.array(found)


def test_it_is_the_papers_filter_of_one_number():
    values = np.cumsum(RNG.normal(size=60))
    found = run(OneEuro(1.2, 0.7, 0.8), values[:, None])
    np.testing.assert_allclose(found[:, 0], published(values, TIMES, 1.2, 0.7, 0.8))
    # speed in units of 5 is the same as a fifth of beta
    scaled = run(OneEuro(1.2, 3.5, 0.8), values[:, None], unit=5.0)
    np.testing.assert_allclose(scaled, found)


def test_what_it_gives_turns_and_moves_with_the_points():
    points = np.cumsum(RNG.normal(size=(60, 4, 3)), 0)
    turn = Rotation.from_rotvec([0.3, -1, 2])
    moved = (turn.apply(points.reshape(-1, 3)) + [5, 6, 7]).reshape(points.shape)
    found = run(OneEuro(1, 2), points)
    wanted = (turn.apply(found.reshape(-1, 3)) + [5, 6, 7]).reshape(points.shape)
    np.testing.assert_allclose(run(OneEuro(1, 2), moved), wanted)
    # each point by itself, whatever the others do
    np.testing.assert_allclose(run(OneEuro(1, 2), points[:, 2]), found[:, 2])


def test_noise_is_taken_from_what_stands_still():
    noise = RNG.normal(size=(3000, 20, 2))
    found = run(OneEuro(1.0, 0.0), noise, np.arange(3000) / 30)[300:]
    # a first-order filter leaves a / (2 - a) of white noise's variance
    a = 1 / (1 + 30 / (2 * math.pi))
    np.testing.assert_allclose(found.var(), a / (2 - a), rtol=0.05)


def test_what_moves_evenly_lags_no_more_than_its_cutoff_says():
    times, speed = np.arange(300) / 30, 2.0
    points = (speed * times)[:, None]
    found = run(OneEuro(1.0, 10.0), points, times)
    lag = ((points - found) / speed)[-1, 0]
    np.testing.assert_allclose(lag, 1 / (2 * math.pi * 21), rtol=1e-6)  # of 1 + 10 x 2 Hz
    slow = run(OneEuro(1.0, 0.0), points, times)
    np.testing.assert_allclose(((points - slow) / speed)[-1, 0], 1 / (2 * math.pi), rtol=1e-6)
