"""Which hands that the detector finds are labels to learn from, and why the others are not."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from amvur_jax.detect.detector import DetectedHand, Fault, Side, distance
from amvur_jax.detect.tips import finger_ends
from amvur_jax.files.video import Frame
from amvur_jax.hands.track import Looker, Sighting, size, track_hands

# Stricter than for a hand that a person looks at (`detector.MIRROR_TOLERANCE`), in the same measure.
TOLERANCE = 0.05
PRESENCE = 0.6  # a lower score is no label
CROWDED = 0.3  # the share of a hand's box that lies in another's
JUMP = 0.3  # how far joints may go from frame to frame, in lengths of the hand
STILL = 0.03  # a hand that has gone less since its last label has nothing new to say
CUT = 5  # so many joints may lie beside the picture
REASONS = {
    "unsure": f"a score below {PRESENCE:g}",
    "no hand": "its mirror image is no hand",
    "side": "its mirror image is a hand of the same side",
    "off": "its mirror image has the joints elsewhere",
    "unsteady": "looked at again, its joints are elsewhere",
    "overlap": "it lies over another hand, or under it",
    "jump": "it has jumped from one frame to the next",
    "cut": f"more than {CUT} joints are off the picture",
    "gap": "it lies between training and evaluation",
}


class Judge(Looker, Protocol):
    """What is asked of a detector: amvur_jax.detect.detector.Detector."""

    def landmarks(self, image: np.ndarray, box: Sequence[int]) -> DetectedHand: ...
    def mirrored(self, image: np.ndarray, hand: DetectedHand) -> DetectedHand: ...
    def disagreement(
        self, hand: DetectedHand, mirrored: DetectedHand, tolerance: float
    ) -> Fault | None: ...


class Judged(NamedTuple):
    """A hand, its number, why it is left out ("" where it is kept), and each joint's confidence (21,)."""

    number: int
    hand: DetectedHand
    reason: str
    confidence: np.ndarray

    @property
    def joints(self) -> np.ndarray:
        """(21, 2) px, with the ends of the fingers."""
        return finger_ends(self.hand.joints_px)


class Look(NamedTuple):
    """A frame that was looked at: its image, (H, W, 3) uint8 RGB, and its hands."""

    number: int
    image: np.ndarray
    hands: list[Judged]


def judge_picture(detector: Judge, image: np.ndarray) -> list[Judged]:
    """The hands of a picture; where the only one, or none, is no good, the picture is taken as its box."""
    found = detector(image)
    judged = [_judged(detector, image, i, hand, found) for i, hand in enumerate(found)]
    if len(judged) > 1 or any(not one.reason for one in judged):
        return judged
    height, width = image.shape[:2]
    whole = _judged(detector, image, 0, detector.landmarks(image, [0, 0, width, height]), [])
    if whole.reason in ("unsure", "no hand"):
        return judged
    return [whole]


def judge_frames(
    detector: Judge,
    frames: Iterable[Frame],
    every: int,
    first: int,
    counts: collections.Counter[str],
) -> Iterator[Look]:
    """The hands of every n-th of consecutive frames, followed from each frame to the next.

    Frames whose hands have hardly moved since they were last kept are left out, as those without a hand are.

    Args:
      detector: finds the hands.
      frames: of a video; every n-th of them is kept in memory.
      every: n; frame numbers that it divides are looked at.
      first: number of the first hand.
      counts: is added to: "frames", "with hands", "people": with hands of several people, and "still".
    """
    images: dict[int, np.ndarray] = {}
    numbers: list[int] = []

    def noted() -> Iterator[Frame]:
        for frame in frames:
            numbers.append(frame.number)
            if frame.number % every == 0:
                images[frame.number] = frame.image
            yield frame

    sightings = track_hands(detector, noted(), smooth=False).sightings
    counts["frames"] += len(sightings)
    counts["with hands"] += sum(bool(found) for found in sightings)
    counts["people"] += sum(are_of_several([s.hand for s in found]) for found in sightings)
    last: dict[int, DetectedHand] = {}
    for i, (number, found) in enumerate(zip(numbers, sightings)):
        if number not in images or not found:
            continue
        if all(s.track in last and distance(s.hand, last[s.track]) < STILL for s in found):
            counts["still"] += 1
            continue
        image, others = images.pop(number), [s.hand for s in found]
        hands = []
        for track, hand in found:
            fault = "jump" if _jump(sightings, i, track) > JUMP else ""
            judged = _judged(detector, image, first + track, hand, others, fault, hand.side)
            if not judged.reason:
                last[track] = hand
            hands.append(judged)
        yield Look(number, image, hands)


def are_of_several(hands: Sequence[DetectedHand]) -> bool:
    """Whether a picture shows hands of several people: more than two, or two of a side."""
    sides = collections.Counter(hand.side for hand in hands)
    return len(hands) > 2 or any(count > 1 for count in sides.values())


def _jump(sightings: Sequence[Sequence[Sighting]], i: int, track: int) -> float:
    """The farther of a hand's ways from the frame before and to the frame after, in its lengths."""
    here = _of(sightings[i])[track]
    beside = [_of(sightings[j]) for j in (i - 1, i + 1) if 0 <= j < len(sightings)]
    return max((distance(frame[track], here) for frame in beside if track in frame), default=0.0)


def _of(frame: Sequence[Sighting]) -> Mapping[int, DetectedHand]:
    return dict(frame)


def _judged(
    detector: Judge,
    image: np.ndarray,
    number: int,
    first: DetectedHand,
    others: Sequence[DetectedHand],
    fault: str = "",
    side: Side | None = None,
) -> Judged:
    """A hand, looked at again by its own landmarks and in the mirror; `side` is that which a video tells."""
    hand = detector.follow(image, first.joints_px)
    hand = hand if side is None else hand._replace(side=side)
    mirrored = detector.mirrored(image, hand)
    height, width = image.shape[:2]
    outside = ((hand.joints_px < 0) | (hand.joints_px > [width, height])).any(-1)
    if hand.score < PRESENCE:
        fault = "unsure"
    elif any(_covered(first.box, other.box) > CROWDED for other in others if other is not first):
        fault = "overlap"
    elif outside.sum() > CUT:
        fault = "cut"
    elif not fault:
        fault = detector.disagreement(hand, mirrored, TOLERANCE) or ""
        if not fault and distance(hand, first) > TOLERANCE:
            fault = "unsteady"
    apart = np.linalg.norm(mirrored.joints_px - hand.joints_px, axis=-1) / size(hand)
    confidence = hand.score * np.exp(-0.5 * (apart / TOLERANCE) ** 2)
    ends = finger_ends(hand.joints_px)
    outside |= ((ends < 0) | (ends > [width, height])).any(-1)
    return Judged(number, hand, fault, np.where(outside, 0, np.clip(confidence, 0, 1)))


def _covered(box: np.ndarray, other: np.ndarray) -> float:
    """The share of a box (4,) that lies in another."""
    sides = np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2])
    return float(np.prod(np.maximum(sides, 0)) / max(np.prod(box[2:] - box[:2]), 1e-6))
