"""The formulas of the scores against slow oracles and laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amvur_jax.scoring.metrics import (
    THRESHOLDS,
    area,
    f_score,
    nearest_distances,
    procrustes,
    scale_translation,
)


def random_rotation(rng):
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


@pytest.mark.parametrize("proper", [False, True])
def test_alignment_undoes_any_similarity(proper):
    rng = np.random.default_rng(0)
    target = rng.normal(size=(6, 21, 3))
    moved = 0.3 * target @ random_rotation(rng).T + [1, 2, 3]
    np.testing.assert_allclose(procrustes(moved, target, proper), target, atol=1e-6)


def test_only_the_official_alignment_undoes_a_mirror():
    target = np.random.default_rng(0).normal(size=(21, 3))
    mirrored = target * [1, -1, 1]
    np.testing.assert_allclose(procrustes(mirrored, target), target, atol=1e-6)
    assert np.abs(procrustes(mirrored, target, proper=True) - target).max() > 0.1


@pytest.mark.parametrize("proper", [False, True])
def test_no_small_turn_or_scaling_improves_an_alignment(proper):
    rng = np.random.default_rng(1)
    target, points = rng.normal(size=(2, 21, 3))
    aligned = procrustes(points, target, proper)
    best = ((aligned - target) ** 2).sum()
    centre = aligned.mean(axis=0)
    for _ in range(50):
        turn = np.linalg.qr(np.eye(3) + 0.05 * rng.normal(size=(3, 3)))[0]
        turn = turn * np.sign(np.diag(turn))
        other = (aligned - centre) @ turn * (1 + rng.normal(0, 0.05)) + centre
        assert ((other - target) ** 2).sum() >= best - 1e-7


def test_scale_translation_undoes_scale_and_translation():
    target = np.random.default_rng(0).normal(size=(4, 21, 3))
    np.testing.assert_allclose(scale_translation(7 * target + 2, target), target, atol=1e-12)


def test_nearest_distances_against_every_pair():
    rng = np.random.default_rng(0)
    a, b = rng.normal([0.1, 0.2, 0.9], 0.05, (40, 3)), rng.normal([0.1, 0.2, 0.9], 0.05, (30, 3))
    a[:9] = b[:9]
    pairs = np.array([[np.sqrt(((x - y) ** 2).sum()) for y in b] for x in a])
    to_b, to_a = nearest_distances(a, b)
    np.testing.assert_allclose(to_b, pairs.min(axis=1), atol=1e-12)
    np.testing.assert_allclose(to_a, pairs.min(axis=0), atol=1e-12)


def test_f_score_counts_strictly_below_the_threshold():
    assert f_score(np.array([0.0, 1.0]), np.array([0.5]), 1.0) == pytest.approx(2 * 0.5 / 1.5)
    assert f_score(np.array([2.0]), np.array([2.0]), 1.0) == 0


SEEDS = st.integers(0, 2**32 - 1)


def similarity(rng, mirror):
    """A random scale, turn (with a mirror or without) and shift, as a function of points."""
    turn = random_rotation(rng) * ([1, 1, -1] if mirror else [1, 1, 1])
    scale, shift = np.exp(rng.normal()), rng.normal(size=3)
    return lambda points: scale * points @ turn.T + shift


@given(SEEDS, st.booleans())
def test_the_aligned_error_is_blind_to_what_alignment_removes(seed, mirror):
    rng = np.random.default_rng(seed)
    points, target = rng.normal(size=(2, 21, 3))
    move = similarity(rng, mirror)
    np.testing.assert_allclose(
        procrustes(move(points), target), procrustes(points, target), atol=1e-6
    )
    proper = procrustes(points, target, proper=True)
    turned = procrustes(similarity(rng, False)(points), target, proper=True)
    np.testing.assert_allclose(turned, proper, atol=1e-6)
    # to allow mirrors is to allow more
    errors = [((procrustes(points, target, p) - target) ** 2).sum() for p in (False, True)]
    assert errors[0] <= errors[1] + 1e-9


@given(SEEDS)
def test_f_stays_under_a_rigid_motion_of_both_and_under_their_exchange(seed):
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0, 0.02, (2, 60, 3))
    turn, shift = random_rotation(rng), rng.normal(size=3)
    for threshold in (0.005, 0.015):
        score = f_score(*nearest_distances(a, b), threshold)
        moved = nearest_distances(a @ turn.T + shift, b @ turn.T + shift)
        assert f_score(*moved, threshold) == pytest.approx(score, abs=1e-12)
        assert f_score(*nearest_distances(b, a), threshold) == pytest.approx(score, abs=1e-12)


@given(SEEDS)
def test_larger_errors_never_raise_the_area(seed):
    rng = np.random.default_rng(seed)
    errors = rng.exponential(0.02, 30)
    larger = errors + rng.exponential(0.005, 30)
    areas = [area((x[:, None] <= THRESHOLDS).mean(0)) for x in (errors, larger)]
    assert 0 <= areas[1] <= areas[0] <= 1


def test_the_area_of_one_error_is_what_is_left_of_the_range():
    # an error on a threshold counts as within it: half a step is lost to the trapezoid
    for i in (1, 50, 99):
        found = area((THRESHOLDS[i] <= THRESHOLDS).astype(float))
        assert found == pytest.approx(1 - (i - 0.5) / 99, abs=1e-12)
    assert area((THRESHOLDS >= 0.06).astype(float)) == 0


def test_distances_beyond_the_limit_may_be_infinite_and_no_other():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 0.02, (2, 50, 3))
    for near, whole in zip(nearest_distances(a, b, 0.01), nearest_distances(a, b)):
        assert (near[whole < 0.01] == whole[whole < 0.01]).all()
        assert (near[whole >= 0.01] >= 0.01).all()
