"""Scores of sigmas: what a perfect sigma gets, what a useless one gets, and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import multivariate_normal, spearmanr

from amvur_jax.scoring import uncertainty
from amvur_jax.scoring.uncertainty import LEVELS


def drawn(scale=1.0, seed=0, samples=400, points=20):
    """Points whose errors were drawn from their own variances, then times `scale`."""
    rng = np.random.default_rng(seed)
    log_var = rng.normal(2 * np.log(0.01), 1.0, (samples, points, 1)) + np.zeros(3)
    difference = scale * np.exp(log_var / 2) * rng.normal(size=log_var.shape)
    return uncertainty.points(difference, log_var)


def test_a_true_sigma_is_calibrated_and_needs_no_temperature():
    points = drawn()
    np.testing.assert_allclose(uncertainty.coverage(points.squared), LEVELS, atol=0.015)
    assert uncertainty.fit_temperature([points]) == pytest.approx(1, abs=0.04)
    assert uncertainty.rank_correlation(points.error, points.variance) > 0.6


def test_one_temperature_repairs_a_common_factor():
    points = drawn(scale=3.0)
    temperature = uncertainty.fit_temperature([points])
    assert temperature == pytest.approx(9, rel=0.04)
    names = [f"S{i % 4}/{i}" for i in range(400)]
    found = uncertainty.summarize({"joints": points, "vertices": points}, names)
    before, after = found["joints"]["before"], found["joints"]["after"]
    assert before["coverage_80"] < 0.3
    assert after["coverage_80"] == pytest.approx(0.8, abs=0.02)
    assert after["nll"] < before["nll"]
    assert after["sigma_mm"] == pytest.approx(after["error_mm"], rel=0.1)
    for same in ("rank_correlation", "ause", "error_mm"):
        assert after[same] == pytest.approx(before[same], rel=1e-5)


def test_the_95_percent_regions_hold_95_percent_whatever_the_tails():
    rng = np.random.default_rng(0)
    log_var = rng.normal(2 * np.log(0.01), 1.0, (2000, 20, 1)) + np.zeros(3)
    difference = np.exp(log_var / 2) * rng.standard_t(3, log_var.shape)
    points = uncertainty.points(difference, log_var)
    fitted = uncertainty.fit_temperature([points.chosen(np.arange(0, 2000, 2))])
    others = points.chosen(np.arange(1, 2000, 2)).scaled(fitted)
    inside = uncertainty.coverage(others.squared)
    assert inside[-1] == pytest.approx(0.95, abs=0.005) and inside[0] > 0.55
    likeliest = points.squared.mean() / 3
    assert uncertainty.coverage(points.scaled(likeliest).squared)[-1] < 0.945


def test_the_likelihood_against_scipys():
    rng = np.random.default_rng(0)
    difference, log_var = rng.normal(0, 0.01, (5, 4, 3)), rng.normal(-9, 0.5, (5, 4, 3))
    want = [
        -multivariate_normal.logpdf(1000 * d, cov=np.diag(1e6 * np.exp(v))) / 3
        for d, v in zip(difference.reshape(-1, 3), log_var.reshape(-1, 3))
    ]
    found = uncertainty.score(uncertainty.points(difference, log_var))["nll"]
    assert found == pytest.approx(np.mean(want), rel=1e-5)


@given(st.integers(0, 2**32 - 1))
def test_ranks_against_scipys_and_blind_to_any_growing_map(seed):
    rng = np.random.default_rng(seed)
    error = rng.exponential(size=(6, 7))
    sigma = np.round(error + rng.exponential(size=(6, 7)), 1)  # with ties
    want = spearmanr(error.ravel(), sigma.ravel()).statistic
    assert uncertainty.rank_correlation(error, sigma) == pytest.approx(want, abs=1e-12)
    assert uncertainty.rank_correlation(error**3, np.exp(sigma)) == pytest.approx(want, abs=1e-12)
    assert uncertainty.ause(error, error) == pytest.approx(0, abs=1e-12)
    assert uncertainty.ause(error, sigma) >= 0
    assert uncertainty.ause(error, -error) >= uncertainty.ause(error, sigma)


def test_a_constant_sigma_ranks_nothing():
    error = np.random.default_rng(0).exponential(size=(10, 3))
    assert uncertainty.rank_correlation(error, np.ones((10, 3))) == 0


def test_what_the_sparsification_curve_holds():
    error = np.arange(100.0)[None]
    curve = uncertainty.sparsification(error, error)
    assert curve[0] == error.mean()  # everything
    assert curve[-1] == 0.5  # the best two of a hundred
    assert (np.diff(curve) <= 0).all()


def test_a_sequence_stays_on_one_side():
    names = [f"S{i // 5}/{i}" for i in range(20)]
    chosen = uncertainty.calibration_samples(names)
    assert chosen.reshape(4, 5).all(1).tolist() == [True, False, True, False]
    assert chosen.sum() == 10
    assert uncertainty.calibration_samples(["0", "1", "2"]).tolist() == [True, False, True]
