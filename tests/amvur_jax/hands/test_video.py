"""Frames of a video go to the network together, in order, and few of them wait."""

import numpy as np
import pytest

from amvur_jax.files.video import Frame
from amvur_jax.hands.focal import Focal
from amvur_jax.hands.track import Sighting, Tracked
from amvur_jax.hands.video import reconstruct_frames


class Counting:
    """A reconstructor whose hands are what was found, with the mean of the picture that shows it."""

    def __init__(self):
        self.asked = []

    def found(self, hand, size):
        return (hand, size)

    def hands(self, sights):
        seen_by = {(sight.K[0, 0], sight.focal_source) for sight in sights}
        self.asked.append((len(sights), seen_by))
        return [(*sight.found, float(sight.image.mean())) for sight in sights]


def run(counts, shape=(4, 6), focal=70.0):
    """(reconstructor, what is given, how many frames were read ahead of each) for hands in each frame."""
    read = []

    def frames():
        for i in range(len(counts)):
            read.append(i)
            yield Frame(i, i / 30, np.full((*shape, 3), i, np.uint8))

    sightings = [[Sighting(t, f"{i} {t}") for t in range(n)] for i, n in enumerate(counts)]
    tracked = Tracked(sightings, [i / 30 for i in range(len(counts))])
    reconstructor, ahead, given = Counting(), [], []
    focal = Focal(focal, "px")
    for shown in reconstruct_frames(reconstructor, frames(), tracked, focal, "given"):
        given.append(shown)
        ahead.append(len(read) - len(given))
    return reconstructor, given, ahead


@pytest.mark.parametrize(
    "counts", [[1] * 40, [2] * 20, [0] * 40, [0, 3, 0, 1, 15, 2, 0, 16, 1, 0], [20, 1], [1]]
)
def test_every_hand_comes_with_its_own_frame_in_order_and_at_most_sixteen_at_once(counts):
    reconstructor, given, ahead = run(counts)
    assert [shown.frame.number for shown in given] == list(range(len(counts)))
    for i, shown in enumerate(given):
        assert shown.hands == [(t, (f"{i} {t}", (6, 4), float(i))) for t in range(counts[i])]
    asked = [count for count, _ in reconstructor.asked]
    assert sum(asked) == sum(counts) and max(asked) <= max(16, *counts)
    assert max(ahead) <= 16
    assert set().union(*(seen_by for _, seen_by in reconstructor.asked)) <= {(70.0, "given")}


def test_one_hand_a_frame_goes_by_sixteens():
    reconstructor, _, _ = run([1] * 40)
    assert [count for count, _ in reconstructor.asked] == [16, 16, 8]


def test_of_large_frames_fewer_wait():
    # 4K: a quarter as many as of 1080p
    _, _, ahead = run([1] * 10, (2160, 3840))
    assert max(ahead) <= 4


def test_frames_beyond_those_that_were_followed_are_left():
    _, given, _ = run([1] * 3)
    tracked = Tracked([[], []], [0.0, 0.1])
    frames = [shown.frame for shown in given]
    shown = reconstruct_frames(Counting(), frames, tracked, Focal(70.0, "px"), "given")
    assert [one.frame.number for one in shown] == [0, 1]
