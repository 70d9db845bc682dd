"""Anchors, letterbox and suppression of the palm network's answers."""

import numpy as np
import pytest
from blobs import blob, centroid

from amvur_jax.detect.palms import anchors, find_palms, letterbox


def test_anchors_are_two_a_cell_of_24_and_six_of_12():
    found = anchors()
    assert found.shape == (2016, 2)
    for part, cells, each in ((found[:1152], 24, 2), (found[1152:], 12, 6)):
        places, counts = np.unique(part, axis=0, return_counts=True)
        assert len(places) == cells**2 and set(counts) == {each}
        assert np.isclose(places.min(), 0.5 / cells) and np.isclose(places.max(), 1 - 0.5 / cells)
        # As a convolution gives them: anchors of a cell together, then along a row.
        assert (part[each] - part[0]).tolist() == pytest.approx([1 / cells, 0])


@pytest.mark.parametrize("size", [(640, 480), (300, 401), (100, 100), (1000, 90)])
@pytest.mark.parametrize("share", [1.0, 0.5])
def test_what_is_in_the_letterbox_is_where_it_says(size, share):
    at = np.array([0.62, 0.45]) * size
    square, scale, corner = letterbox(blob(size, at), 192, share)
    assert square.shape == (192, 192, 3)
    np.testing.assert_allclose(centroid(square), scale * at + corner, atol=0.25)


def test_overlapping_answers_become_one_weighted_by_score():
    # Anchors 576 and 577 are at (0.5, 12.5) / 24 of the input. A picture of 384 px is shown half as large.
    answers, logits = np.zeros((1, 2016, 18), np.float32), np.full((1, 2016, 1), -50, np.float32)
    for anchor, shift, logit in ((576, 0.0, 2.0), (577, 8.0, 1.0), (2015, 0.0, 3.0)):
        answers[0, anchor] = [shift, 0, 48, 48] + [shift, 4] * 7
        logits[0, anchor] = logit
    palms = find_palms(lambda x: [answers, logits], np.zeros((384, 384, 3), np.uint8), 0.5)
    sigmoid = 1 / (1 + np.exp(-np.array([3.0, 2.0, 1.0])))
    assert [palm.score for palm in palms] == pytest.approx(sigmoid[:2])
    shift = 8 * sigmoid[2] / (sigmoid[1] + sigmoid[2])
    middle = 2 * np.array([0.5 / 24 * 192 + shift, 12.5 / 24 * 192])
    np.testing.assert_allclose(palms[1].box, np.concatenate([middle - 48, middle + 48]), atol=1e-3)
    np.testing.assert_allclose(palms[1].keypoints, np.tile(middle + [0, 8], (7, 1)), atol=1e-3)
    np.testing.assert_allclose(palms[0].box[:2], 2 * (11.5 / 12 * 192 - 24))
