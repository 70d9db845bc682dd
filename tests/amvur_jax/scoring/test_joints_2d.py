"""Scores of 2D joints, against counting by hand."""

import numpy as np
import pytest

from amvur_jax.scoring.joints_2d import score_2d, text_2d, triples

RNG = np.random.default_rng(0)


def test_means_are_by_confidence_and_in_shares_of_each_box():
    labels = RNG.uniform(0, 100, (3, 21, 2)) * np.array([1, 2, 5])[:, None, None]
    confidence = RNG.uniform(0, 1, (3, 21)) * (RNG.random((3, 21)) > 0.3)
    joints = labels + RNG.normal(0, 12, labels.shape)
    unit = np.array([0.5, 1, 3])
    scores = score_2d(joints, labels, confidence, unit, [])
    px, share, near, total = 0.0, 0.0, 0.0, 0.0
    for n in range(3):
        there = [labels[n, j] for j in range(21) if confidence[n, j] > 0]
        length = max(max(p[i] for p in there) - min(p[i] for p in there) for i in (0, 1))
        for j in range(21):
            off = float(np.hypot(*(joints[n, j] - labels[n, j])))
            px += confidence[n, j] * off * unit[n]
            share += confidence[n, j] * off / length
            near += confidence[n, j] * (off / length < 0.1)
            total += confidence[n, j]
    assert scores["joints_2d_px"] == pytest.approx(px / total)
    assert scores["error_of_box"] == pytest.approx(share / total)
    assert scores["pck_0.1"] == pytest.approx(near / total) and 0 < scores["pck_0.1"] < 1
    assert scores["jitter_of_box"] is None and scores["triples"] == 0 and scores["hands"] == 3


def test_jitter_is_the_noise_and_no_steady_motion():
    """White noise of deviation s in two coordinates: a second difference has s sqrt(6), its length a mean of
    sqrt(pi / 2) of that."""
    count, sigma = 2000, 0.7
    shape = RNG.uniform(0, 100, (21, 2))
    labels = shape + np.arange(count)[:, None, None] * [1.5, -0.5]
    joints = labels + RNG.normal(0, sigma, labels.shape)
    order = RNG.permutation(count)
    tracks = [("clip", 0, 5 * int(n)) for n in order]
    ones = np.ones((count, 21))
    scores = score_2d(joints[order], labels[order], ones, np.ones(count), tracks)
    length = np.ptp(shape, axis=0).max()
    expected = sigma * np.sqrt(6 * np.pi / 2) / length
    assert scores["jitter_of_box"] == pytest.approx(expected, rel=0.02)
    assert scores["label_jitter_of_box"] == pytest.approx(0, abs=1e-9)


def test_triples_are_of_one_hand_and_of_equal_steps():
    tracks = [("a", 0, 0), ("a", 1, 5), ("a", 0, 5), ("b", 0, 15), ("a", 0, 10), ("a", 0, 20)]
    assert triples(tracks).tolist() == [[0, 2, 4]]


def test_the_text_says_that_it_is_of_2d_alone():
    text = text_2d({"hands": 2, "error_of_box": 0.125, "jitter_of_box": None})
    assert text.splitlines()[0] == "# 2D labels alone: no score in 3D"
    assert "error_of_box: 0.125" in text and "jitter_of_box: not measured" in text
