"""Hands followed through a video: which one is which, and its side.

A hand's landmarks are looked for where they were in the frame before; the picture is searched for hands where
one is lost, where none is known, and now and then for new ones.
"""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from amvur_jax.detect.detector import DetectedHand, Side, same_hand
from amvur_jax.files.video import Frame
from amvur_jax.hands.smooth import OneEuro

LEAST_SCORE = 0.5  # below, a hand is lost
SEARCH_S, SOON_S = 0.33, 0.1  # the picture is searched for hands this often; while one is lost
MEMORY_S = 1.0  # a lost hand may come back for so long
REACH = 1.5  # in hands' lengths: farther from where it is thought to be, it is another hand
_OTHER_SIDE = 1.0  # what a wrong side adds to that distance
BRIEF = 3  # what is seen in fewer frames is no hand
# Of One-Euro: Hz, and Hz for a hand's length a second; by benchmarks/video.py.
MIN_CUTOFF, BETA = 1.0, 10.0
_GAP_S = 0.25  # a hand that was away for longer is smoothed anew


class Looker(Protocol):
    """What is asked of a detector: amvur_jax.detect.detector.Detector."""

    def __call__(self, image: np.ndarray, thorough: bool = False) -> list[DetectedHand]: ...
    def follow(self, image: np.ndarray, joints_px: np.ndarray) -> DetectedHand: ...


class Sighting(NamedTuple):
    """A hand of a frame: the number of its track, the same in all frames, and where it is."""

    track: int
    hand: DetectedHand


class Tracked(NamedTuple):
    """A video's hands: a list for each frame, and each frame's time stamp, s."""

    sightings: list[list[Sighting]]
    times_s: list[float]


@dataclasses.dataclass
class _Track:
    """A hand that is or was seen: as last seen, when, the speed of its joints (21,2), px/s, and its sides."""

    number: int
    hand: DetectedHand
    time_s: float
    velocity: np.ndarray
    sides: collections.Counter[Side]

    @property
    def side(self) -> Side:
        return self.sides.most_common(1)[0][0]

    def off(self, hand: DetectedHand, time_s: float) -> float:
        """How far a hand is from where this one is thought to have gone, in its lengths; sides count too."""
        expected = self.hand.joints_px + self.velocity * (time_s - self.time_s)
        apart = np.linalg.norm((hand.joints_px - expected).mean(0)) / size(self.hand)
        return float(apart) + _OTHER_SIDE * (hand.side != self.side)

    def away(self, hand: DetectedHand) -> float:
        """The same from where it was last seen."""
        apart = np.linalg.norm((hand.joints_px - self.hand.joints_px).mean(0)) / size(self.hand)
        return float(apart) + _OTHER_SIDE * (hand.side != self.side)

    def see(self, hand: DetectedHand, time_s: float) -> None:
        step = time_s - self.time_s
        self.velocity = (hand.joints_px - self.hand.joints_px) / step
        self.hand, self.time_s = hand, time_s
        self.sides[hand.side] += 1


class Tracker:
    """Follows hands from frame to frame, by a detector; `thorough` is how it searches."""

    def __init__(self, detector: Looker, thorough: bool = False) -> None:
        self._detector, self._thorough = detector, thorough
        self._seen: list[_Track] = []
        self._lost: list[_Track] = []
        self._searched = -math.inf
        self._count = 0

    def __call__(self, image: np.ndarray, time_s: float) -> list[Sighting]:
        """The hands of the next frame, (H, W, 3) uint8 RGB, at its time."""
        before = len(self._seen)
        self._follow(image, time_s)
        self._lost = [track for track in self._lost if time_s - track.time_s <= MEMORY_S]
        due = time_s - self._searched >= (SOON_S if self._lost else SEARCH_S)
        if due or len(self._seen) < max(before, 1):
            self._search(image, time_s)
        self._seen.sort(key=lambda track: track.number)
        return [Sighting(track.number, track.hand) for track in self._seen]

    def _follow(self, image: np.ndarray, time_s: float) -> None:
        """Each hand where it has gone; of two that end at one hand, that which fits it less is lost."""
        height, width = image.shape[:2]
        found = []
        for track in self._seen:
            hand = self._detector.follow(image, track.hand.joints_px)
            (x, y), off = hand.joints_px.mean(0), track.off(hand, time_s)
            inside = 0 < x < width and 0 < y < height
            if hand.score >= LEAST_SCORE and inside and off <= REACH:
                found.append((off, track, hand))
        kept: list[_Track] = []
        for _, track, hand in sorted(found, key=lambda entry: entry[0]):
            if not any(same_hand(hand, other.hand) for other in kept):
                track.see(hand, time_s)
                kept.append(track)
        self._lost += [track for track in self._seen if track not in kept]
        self._seen = kept

    def _search(self, image: np.ndarray, time_s: float) -> None:
        """Hands that are not known yet: those that were lost nearby, else new ones."""
        from scipy.optimize import (
            linear_sum_assignment,
        )  # slow to import, and photographs need none

        self._searched = time_s
        found = [
            hand
            for hand in self._detector(image, self._thorough)
            if not any(same_hand(hand, track.hand) for track in self._seen)
        ]
        off = np.array([[track.away(hand) for hand in found] for track in self._lost])
        back = {
            int(j): self._lost[i]
            for i, j in zip(*linear_sum_assignment(off.reshape(len(self._lost), len(found))))
            if off[i, j] <= REACH
        }
        for j, hand in enumerate(found):
            if j in back:
                track = back[j]
                self._lost.remove(track)
                track.see(hand, time_s)
            else:
                nothing = np.zeros_like(hand.joints_px)
                sides = collections.Counter([hand.side])
                track = _Track(self._count, hand, time_s, nothing, sides)
                self._count += 1
            self._seen.append(track)


def track_hands(
    detector: Looker, frames: Iterable[Frame], thorough: bool = False, smooth: bool = True
) -> Tracked:
    """Follow the hands of a video.

    The side of a hand is that in which it was seen most often. What is seen in fewer than BRIEF frames is no
    hand; tracks are numbered anew from 0.

    Args:
      detector: for pictures.
      frames: of the video; none of them is kept.
      thorough: search for small hands too.
      smooth: smooth landmarks and depths by One-Euro.
    """
    tracker = Tracker(detector, thorough)
    sightings: list[list[Sighting]] = []
    times: list[float] = []
    for frame in frames:
        sightings.append(tracker(frame.image, frame.time_s))
        times.append(frame.time_s)
    sightings = settled(sightings)
    return Tracked(smoothed(sightings, times) if smooth else sightings, times)


def settled(sightings: Sequence[Sequence[Sighting]]) -> list[list[Sighting]]:
    """The sightings of each frame without brief tracks, numbered from 0, each with its track's one side."""
    sides: dict[int, collections.Counter[Side]] = {}
    for frame in sightings:
        for track, hand in frame:
            sides.setdefault(track, collections.Counter())[hand.side] += 1
    least = min(BRIEF, len(sightings))
    kept = [track for track, votes in sides.items() if votes.total() >= least]
    numbers = {track: number for number, track in enumerate(sorted(kept))}
    return [
        [
            Sighting(numbers[track], hand._replace(side=sides[track].most_common(1)[0][0]))
            for track, hand in frame
            if track in numbers
        ]
        for frame in sightings
    ]


def smoothed(
    sightings: Sequence[Sequence[Sighting]], times_s: Sequence[float]
) -> list[list[Sighting]]:
    """The sightings with landmarks, depths and boxes smoothed along each track.

    The landmarks are smoothed, not what the network makes of them: crop, pose and place in metres all follow
    from them, so all become calm at once, and mesh, joints and parameters still agree.
    """
    filters: dict[int, tuple[OneEuro, OneEuro]] = {}
    seen_s: dict[int, float] = {}
    found: list[list[Sighting]] = []
    for frame, time in zip(sightings, times_s):
        found.append([])
        for track, hand in frame:
            if time - seen_s.get(track, -math.inf) > _GAP_S:
                # Apart: the depth is the noisier one, and would have the landmarks follow its noise.
                filters[track] = OneEuro(MIN_CUTOFF, BETA), OneEuro(MIN_CUTOFF, BETA)
            seen_s[track], (place, away) = time, filters[track]
            joints = place(hand.joints_px, time, size(hand))
            depth = away(hand.depth[:, None], time, size(hand))[:, 0]
            box = np.concatenate([joints.min(0), joints.max(0)])
            hand = hand._replace(joints_px=joints, depth=depth, box=box)
            found[-1].append(Sighting(track, hand))
    return found


def size(hand: DetectedHand) -> float:
    """The longer side of a hand's box, px, at least 1."""
    return max(float((hand.box[2:] - hand.box[:2]).max()), 1.0)
