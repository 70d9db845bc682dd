"""Which hands are kept: each reason by a detector that knows what it shows."""

import collections

import numpy as np
import pytest
from scripted import SIZE, Scripted, at, picture

from amvur_jax.files.video import Frame
from amvur_jax.labels.judge import are_of_several, judge_frames, judge_picture

COUNT = 40


def frames(count=COUNT):
    return [Frame(i, i / 25, picture(i)) for i in range(count)]


def judge(seen, every=5, first=0, **options):
    """{frame: [(number, reason)]} and the counts."""
    counts = collections.Counter()
    looks = judge_frames(Scripted(seen, **options), frames(), every, first, counts)
    return {look.number: [(h.number, h.reason) for h in look.hands] for look in looks}, counts


def moving(i):
    return at("right", 40 + i, 64)


def shaken(hand, share):
    """The same hand with its joints a share of its length away."""
    side = (hand.box[2:] - hand.box[:2]).max()
    return hand._replace(joints_px=hand.joints_px + [share * side, 0])


def test_a_moving_hand_is_kept_every_so_often():
    found, counts = judge(lambda i: [moving(i)], first=7)
    assert found == {i: [(7, "")] for i in range(0, COUNT, 5)}
    assert counts == collections.Counter({"frames": COUNT, "with hands": COUNT})


def test_a_hand_that_does_not_move_is_kept_once():
    found, counts = judge(lambda i: [at("right", max(60, 22 + 2 * i), 64)])
    assert list(found) == [0, 20, 25, 30, 35] and counts["still"] == 3


def test_a_frame_without_hands_is_counted_alone():
    found, counts = judge(lambda i: [moving(i)] if i >= 20 else [])
    assert list(found) == [20, 25, 30, 35] and counts["with hands"] == 20


def test_a_jump_is_dropped_before_and_after():
    def seen(i):
        return [at("right", 40 + i + 20 * (i in (10, 14, 16)), 64)]

    found, _ = judge(seen)
    assert {i for i, hands in found.items() if hands[0][1] == "jump"} == {10, 15}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda hand: hand._replace(score=0.4), "no hand"),
        (lambda hand: hand._replace(side="left"), "side"),
        (lambda hand: shaken(hand, 0.06), "off"),
        (lambda hand: shaken(hand, 0.04), ""),
    ],
)
def test_the_mirror_decides(change, reason):
    found, _ = judge(lambda i: [moving(i)], mirror=lambda i, h: change(h) if i == 10 else h)
    assert {i: hands[0][1] for i, hands in found.items() if hands[0][1]} == (
        {10: reason} if reason else {}
    )


def test_the_side_is_that_of_the_whole_video():
    """A frame in which the network has the other side is kept where the mirror has the video's."""

    def seen(i):
        return [moving(i)._replace(side="left" if i == 10 else "right")]

    def mirror(i, hand):
        return hand._replace(side="right")

    detector = Scripted(seen, mirror)
    looks = list(judge_frames(detector, frames(), 5, 0, collections.Counter()))
    assert {(h.hand.side, h.reason) for look in looks for h in look.hands} == {("right", "")}
    assert 10 in {look.number for look in looks}


def test_a_weak_hand_is_dropped():
    found, _ = judge(lambda i: [at("right", 40 + i, 64, score=0.55 if i == 10 else 0.9)])
    assert [i for i, hands in found.items() if hands[0][1] == "unsure"] == [10]


def test_hands_that_cover_each_other_are_dropped_and_others_have_a_line_each():
    def seen(i):
        return [at("right", 40 + i / 2, 64), at("left", 110 - i, 64)]

    found, counts = judge(seen)
    assert found[0] == [(0, ""), (1, "")]
    assert found[35] == [(0, "overlap"), (1, "overlap")]
    assert counts["people"] == 0


def test_two_hands_of_a_side_or_three_are_of_several_people():
    right, left = at("right", 30, 64), at("left", 100, 64)
    assert are_of_several([right, right]) and are_of_several([right, left, left])
    assert not are_of_several([right, left]) and not are_of_several([])
    _, counts = judge(lambda i: [at("right", 30 + i / 4, 64), at("right", 110 + i / 4, 64)])
    assert counts["people"] == COUNT


def test_joints_beside_the_picture_have_no_confidence_and_many_drop_the_hand():
    one = at("right", 20, 64)
    part = at("right", 20 - np.sort(one.joints_px[:, 0])[2] - 0.1, 64)
    (few,) = judge_picture(Scripted(lambda i: [part]), picture(0))
    (many,) = judge_picture(Scripted(lambda i: [at("right", -10, 64)]), picture(0))
    assert (many.hand.joints_px < 0).any(-1).sum() > 5
    outside = (few.joints < 0).any(-1)
    assert few.reason == "" and 3 <= outside.sum() <= 5
    assert not few.confidence[outside].any() and few.confidence[~outside].all()
    assert many.reason == "cut"


def test_a_joint_that_the_mirror_has_elsewhere_counts_less():
    hand = at("right", 80, 64)
    length = (hand.box[2:] - hand.box[:2]).max()
    aside = hand.joints_px + np.linspace(0, 0.1, 21)[:, None] * [length, 0]
    detector = Scripted(lambda i: [hand], mirror=lambda i, h: h._replace(joints_px=aside))
    (found,) = judge_picture(detector, picture(0))
    assert (np.diff(found.confidence) < 0).all() and found.confidence[0] == pytest.approx(0.9)
    # a normal distribution's fall: at one standard deviation exp(-1/2)
    assert found.confidence[10] == pytest.approx(0.9 * np.exp(-0.5), rel=1e-6)


class Blind(Scripted):
    """Finds no palm, and a hand where the whole picture is given as its box."""

    def __call__(self, image, thorough=False):
        return []

    def landmarks(self, image, box):
        assert list(box) == [0, 0, *SIZE]
        return self.seen(0)[0]


def test_a_picture_in_which_no_palm_is_found_is_its_own_box():
    hand = at("right", 80, 64)
    (found,) = judge_picture(Blind(lambda i: [hand]), picture(0))
    assert found.reason == "" and found.hand is hand
    assert judge_picture(Scripted(lambda i: []), picture(0)) == []
