"""Hands followed through made-up videos by a detector that knows where they are."""

import numpy as np
import pytest

from amvur_jax.detect.detector import DetectedHand
from amvur_jax.files.video import Frame
from amvur_jax.hands import track as module
from amvur_jax.hands.track import Sighting, smoothed, track_hands

RATE = 30
SIZE = (640, 480)  # width, height, px
HAND = 60 * np.random.default_rng(0).uniform(-1, 1, (21, 2))  # about its middle, px
REACH = 150.0  # px: as far as landmarks are found from where they are looked for


def at(side, x, y, score=0.9):
    joints = HAND * [1 if side == "right" else -1, 1] + [x, y]
    box = np.concatenate([joints.min(0), joints.max(0)])
    return DetectedHand(side, score, box, joints, np.linspace(0, 9, 21), np.zeros((21, 3)))


class Scripted:
    """A detector of a video: what frame number i shows is seen(i); landmarks go to the nearest hand."""

    def __init__(self, seen):
        self.seen, self.searches, self.follows = seen, [], 0

    def __call__(self, image, thorough=False):
        number = int(image[0, 0, 0])
        self.searches.append(number)
        return self.seen(number)

    def follow(self, image, joints_px):
        self.follows += 1
        hands = self.seen(int(image[0, 0, 0]))
        away = [np.linalg.norm((h.joints_px - joints_px).mean(0)) for h in hands]
        if not hands or min(away) > REACH:
            return at("right", *joints_px.mean(0), score=0.1)
        return hands[int(np.argmin(away))]


def frames(count):
    for i in range(count):
        image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        image[0, 0, 0] = i
        yield Frame(i, i / RATE, image)


def follow(seen, count, **options):
    detector = Scripted(seen)
    return track_hands(detector, frames(count), **{"smooth": False} | options), detector


def path(tracked, track):
    """{frame: hand} of a track."""
    found = {}
    for i, sightings in enumerate(tracked.sightings):
        assert len({s.track for s in sightings}) == len(sightings)
        for own, hand in sightings:
            if own == track:
                found[i] = hand
    return found


def tracks(tracked):
    return {s.track for sightings in tracked.sightings for s in sightings}


def test_a_hand_is_followed_and_the_picture_seldom_searched():
    tracked, detector = follow(lambda i: [at("left", 100 + 3 * i, 200)], 90)
    assert tracks(tracked) == {0} and tracked.times_s == [i / RATE for i in range(90)]
    for i, hand in path(tracked, 0).items():
        np.testing.assert_array_equal(hand.joints_px, at("left", 100 + 3 * i, 200).joints_px)
    assert detector.follows == 89
    assert len(detector.searches) <= 90 / RATE / module.SEARCH_S + 1


def test_without_a_hand_every_frame_is_searched_and_one_that_comes_is_found_soon():
    tracked, detector = follow(lambda i: [at("right", 300, 200)] if i >= 20 else [], 60)
    assert detector.searches[:21] == list(range(21)) and min(path(tracked, 0)) == 20
    both = [at("right", 150, 200), at("left", 450, 200)]
    tracked, _ = follow(lambda i: both[: 1 + (i >= 20)], 60)
    assert min(path(tracked, 1)) <= 20 + module.SEARCH_S * RATE + 1


@pytest.mark.parametrize("sides", [("right", "left"), ("right", "right")])
@pytest.mark.parametrize("hidden", [0, 6])
def test_hands_that_cross_keep_their_numbers(sides, hidden):
    """Two pass each other; the second is hidden by the first about the middle of the video."""

    def seen(i):
        first, second = at(sides[0], 100 + 8 * i, 190), at(sides[1], 540 - 8 * i, 215)
        return [first] if abs(i - 27.5) < hidden else [first, second]

    tracked, _ = follow(seen, 55)
    assert tracks(tracked) == {0, 1}
    for track, side, start, step, y in ((0, sides[0], 100, 8, 190), (1, sides[1], 540, -8, 215)):
        found = path(tracked, track)
        assert 0 in found and 54 in found and len(found) >= 55 - 2 * hidden - 12
        for i in (*range(20), *range(40, 55)):
            np.testing.assert_allclose(
                found[i].joints_px.mean(0)[1] - at(side, 0, y).joints_px.mean(0)[1], 0
            )
            np.testing.assert_allclose(found[i].joints_px, at(side, start + step * i, y).joints_px)


@pytest.mark.parametrize(
    ("away_s", "moved_px", "same"), [(0.5, 40, True), (0.5, 400, False), (2.0, 0, False)]
)
def test_a_hand_that_comes_back_soon_and_near_keeps_its_number(away_s, moved_px, same):
    gone = round(away_s * RATE)

    def seen(i):
        if i < 20:
            return [at("right", 120, 200)]
        return [at("right", 120 + moved_px, 200)] if i >= 20 + gone else []

    tracked, _ = follow(seen, 40 + gone)
    assert tracks(tracked) == ({0} if same else {0, 1})
    assert len(path(tracked, 0 if same else 1)) >= 20
    assert not any(tracked.sightings[20 : 20 + gone])


def test_landmarks_that_leap_to_a_hand_of_the_other_side_are_not_followed():
    there = at("left", 0, 0).joints_px.mean(0)[0] - at("right", 0, 0).joints_px.mean(0)[0]
    right, left = at("right", 300, 200), at("left", 300 - there + 100, 200)
    tracked, _ = follow(lambda i: [right if i < 20 else left], 60)
    assert [max(path(tracked, t)) for t in (0, 1)] == [19, 59]
    assert [path(tracked, t)[max(path(tracked, t))].side for t in (0, 1)] == ["right", "left"]


def test_two_never_share_a_hand():
    """Where one of two near hands goes, its landmarks are those of the other: it is lost."""
    both = [at("right", 300, 200), at("left", 370, 200)]
    tracked, _ = follow(lambda i: both[: 2 if i < 20 else 1], 60)
    assert len(path(tracked, 0)) == 60 and max(path(tracked, 1)) == 19


def test_the_side_is_the_tracks_and_does_not_flip():
    rng = np.random.default_rng(1)
    wrong = rng.uniform(size=60) < 0.3
    wrong[0] = True

    def seen(i):
        return [at("right", 300, 200)._replace(side="left" if wrong[i] else "right")]

    tracked, _ = follow(seen, 60)
    assert {hand.side for hand in path(tracked, 0).values()} == {"right"}
    assert len(path(tracked, 0)) == 60


def test_what_is_seen_for_a_moment_is_no_hand():
    def seen(i):
        return [at("right", 300, 200), *[at("left", 500, 300)] * (i in (0, 30, 31))]

    tracked, _ = follow(seen, 60)
    assert tracks(tracked) == {0}
    # but a video may be shorter than that
    assert tracks(follow(lambda i: [at("left", 300, 200)], 1)[0]) == {0}


def noisy(count, noise, speed):
    """Sightings of a hand that goes `speed` px a frame, and where it truly is."""
    rng = np.random.default_rng(2)
    true = [at("right", 100 + speed * i, 200) for i in range(count)]
    seen = [
        [Sighting(0, hand._replace(joints_px=hand.joints_px + rng.normal(0, noise, (21, 2))))]
        for hand in true
    ]
    return seen, np.stack([hand.joints_px for hand in true])


def joints(sightings):
    return np.stack([frame[0].hand.joints_px for frame in sightings])


def test_a_still_hand_jitters_less_and_a_moving_one_lags_little():
    times = [i / RATE for i in range(90)]
    still, truth = noisy(90, 0.5, 0.0)
    found = joints(smoothed(still, times))
    before, after = (np.abs(np.diff(x, axis=0)).mean() for x in (joints(still), found))
    assert after < 0.4 * before
    assert np.abs(found[30:] - truth[30:]).mean() < np.abs(joints(still)[30:] - truth[30:]).mean()
    moving, truth = noisy(90, 0.0, 5.0)
    off = (truth - joints(smoothed(moving, times)))[30:]
    length = np.ptp(truth[0], axis=0).max()
    cutoff = module.MIN_CUTOFF + module.BETA * 5.0 * RATE / length
    np.testing.assert_allclose(off[..., 0] / (5.0 * RATE), 1 / (2 * np.pi * cutoff), rtol=0.01)
    assert (off[..., 0] / (5.0 * RATE)).max() < 0.015  # s


def test_the_noise_of_depths_does_not_open_the_filter_of_landmarks():
    rng = np.random.default_rng(3)
    times = [i / RATE for i in range(60)]
    still, _ = noisy(60, 0.5, 0.0)
    deep = [[Sighting(0, f[0].hand._replace(depth=rng.normal(0, 5, 21)))] for f in still]
    np.testing.assert_array_equal(joints(smoothed(deep, times)), joints(smoothed(still, times)))
    depths = [np.stack([f[0].hand.depth for f in x]) for x in (deep, smoothed(deep, times))]
    before, after = (np.abs(np.diff(d, axis=0)).mean() for d in depths)
    assert after < 0.5 * before


def test_boxes_and_depths_are_smoothed_with_their_landmarks_and_a_return_begins_anew():
    times = [i / RATE for i in range(90)]
    seen, _ = noisy(90, 0.5, 0.0)
    seen[40:60] = [[]] * 20
    found = smoothed(seen, times)
    assert not any(found[40:60])
    for before, after in zip(seen, found):
        for (_, old), (_, new) in zip(before, after):
            box = np.concatenate([new.joints_px.min(0), new.joints_px.max(0)])
            np.testing.assert_array_equal(new.box, box)
            np.testing.assert_allclose(new.depth, old.depth)
    np.testing.assert_array_equal(found[60][0].hand.joints_px, seen[60][0].hand.joints_px)
    assert (found[61][0].hand.joints_px != seen[61][0].hand.joints_px).all()


def test_it_is_causal():
    seen, _ = noisy(60, 0.5, 2.0)
    times = [i / RATE for i in range(60)]
    np.testing.assert_array_equal(
        joints(smoothed(seen, times))[:30], joints(smoothed(seen[:30], times[:30]))
    )
