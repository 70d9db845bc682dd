"""Finding hands in a photograph and placing their 21 landmarks."""

import math
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import ArrayLike

from amvur_jax.data.crop import crop_image
from amvur_jax.detect.networks import LANDMARKS, Backend, load_networks
from amvur_jax.detect.palms import find_palms, overlap
from amvur_jax.detect.squares import (
    Square,
    square_of_box,
    square_of_joints,
    square_of_palm,
)
from amvur_jax.detect.tiles import Part, tiles
from amvur_jax.errors import UserError

Side = Literal["right", "left"]
Fault = Literal["no hand", "side", "off"]

# A hand and its mirror image must agree this well: mean distance over the longer side of the box.
MIRROR_TOLERANCE = 0.08
# The mirror image is looked at a little wider: wrong landmarks are often right by their own square alone.
_MIRROR_WIDER = 1.15
# Palms below least_palm down to this count, too, where the hand passes the check.
_WEAK = 0.2
# A hand that fills the picture is too large for the palm network: then it is shown from twice as far.
_FAR = 0.5
# A hand whose box overlaps a given one by this much (intersection over union) is the one that was meant.
_IN_BOX = 0.3
# Score from which on a hand in a given box is not looked at turned.
_SURE = 0.9
# Px of depth for one of the network's own, which are too small: least squares over synthetic hands gives
# 3.8, the world landmarks of photographs 4.1 (docs/detector.md); MediaPipe itself takes 2.5.
_DEPTH = 4.0
# Two answers are the same hand when their joints are this near, in the same measure.
_SAME_HAND = 0.35

# Of the hand's longer side, of a score s: a + b (1 - s)^c. Seen on 500 hard synthetic frames
# (docs/detector.md): 0.044 at a score of 0.995, 0.27 at 0.25.
EXPECTED_ERROR = 0.04, 0.28, 0.75


def expected_error(score: ArrayLike) -> np.ndarray:
    """How far off the joints of a hand of this score are on the mean, of the hand's longer side."""
    least, more, power = EXPECTED_ERROR
    return least + more * (1 - np.asarray(score)) ** power


class DetectedHand(NamedTuple):
    """A hand of a picture. Coordinates: the centre of the first pixel is at (0.5, 0.5).

    Joints are in the model's order (`mano_jax/topology.py`), which is MediaPipe's own: wrist, thumb,
    index, middle, ring, pinky, each from palm to tip. A left hand is as it is, not mirrored.

    Attributes:
      side: "right" or "left", as in life, in a picture that is not mirrored.
      score: the network's belief that this is a hand, in [0, 1].
      box: (4,) x1, y1, x2, y2 px, tight about the joints.
      joints_px: (21, 2) px of the picture.
      depth: (21,) px, of the wrist's: away from the camera is positive.
      joints_world: (21, 3) m, from the wrist; x right, y down, z away from the camera.
    """

    side: Side
    score: float
    box: np.ndarray
    joints_px: np.ndarray
    depth: np.ndarray
    joints_world: np.ndarray


class Detector:
    """MediaPipe's palm and landmark networks on a CPU.

    One at a time: a Detector must not be called from two threads at once.
    """

    def __init__(
        self,
        path: str | Path | None = None,
        backend: Backend = "auto",
        least_palm: float = 0.5,
        least_hand: float = 0.5,
    ) -> None:
        """Load the networks.

        Args:
          path: a newer `hand_landmarker.task`, or a folder with its two .tflite files; None: the package's.
          backend: "opencv", "litert" (needs the extra `detect`), or "auto": LiteRT where it is installed.
          least_palm: score from which on a palm is believed, in [0, 1]; a hand with a weaker one must be
            `checked`.
          least_hand: score from which on what was looked at is a hand, in [0, 1].

        Raises:
          UserError: a file is missing, damaged or another network; the backend is not there.
        """
        self._palms, self._landmarks = load_networks(path, backend)
        self._least_palm, self._least_hand = least_palm, least_hand

    def __call__(self, image: np.ndarray, thorough: bool = False) -> list[DetectedHand]:
        """Find hands.

        Args:
          image: (H, W, 3) uint8 RGB.
          thorough: also look at overlapping tiles, for hands that are small in the picture; those that
            are found there alone count if `checked` says so.

        Returns:
          the hands, best first.

        Raises:
          UserError: the image is no (H, W, 3) uint8.
        """
        _check_image(image)
        found = self._squares(image)
        if thorough or not any(score >= self._least_palm for score, _ in found):
            found += self._squares(image, share=_FAR)
        hands = self._hands(image, found, [], self._least_palm)
        if thorough:
            small = [square for tile in tiles(image) for square in self._squares(*tile)]
            hands = self._hands(image, small, hands, sure=math.inf)
        return sorted(hands, key=lambda hand: -hand.score)

    def landmarks(
        self, image: np.ndarray, box: ArrayLike, side: Side | None = None
    ) -> DetectedHand:
        """Place the landmarks of a hand whose box is known.

        A palm that is found about the box says how the hand is turned. Without one, it is taken to be
        upright; where the network doubts that, turned by quarters; and is looked at again as its own
        landmarks say.

        Args:
          image: (H, W, 3) uint8 RGB.
          box: (4,) x1, y1, x2, y2 px about the hand; tight about its joints is best.
          side: whose hand it is where that is known; else the network says.

        Returns:
          the hand; a low score says that the network doubts that there is one.

        Raises:
          UserError: the image is no (H, W, 3) uint8, or the box has no area in it.
        """
        _check_image(image)
        box = _checked_box(box, image)
        hands = self._hands(image, self._squares(*_about(image, box)), [], self._least_palm)
        hands = [hand for hand in hands if overlap(box, hand.box[None])[0] > _IN_BOX]
        if hands:
            best = max(hands, key=lambda hand: overlap(box, hand.box[None])[0])
        else:
            best = self._turned(image, box)
        return best if side is None else best._replace(side=side)

    def follow(self, image: np.ndarray, joints_px: np.ndarray) -> DetectedHand:
        """Place the landmarks of a hand that is about where its joints are thought to be.

        Args:
          image: (H, W, 3) uint8 RGB.
          joints_px: (21, 2) px, as of the previous frame of a video.

        Returns:
          the hand; a low score says that it is lost.
        """
        return self._look(image, square_of_joints(joints_px))

    def checked(
        self, image: np.ndarray, hand: DetectedHand, tolerance: float = MIRROR_TOLERANCE
    ) -> bool:
        """Whether the mirror image of a hand, shown a little wider, is the mirrored hand of the other side.

        What only looks like a hand, and landmarks that are far off, mostly fail this.

        Args:
          image: (H, W, 3) uint8 RGB, in which the hand was found.
          hand: as found.
          tolerance: of the mean distance of the joints, as a share of the longer side of the box.
        """
        return self.fault(image, hand, tolerance) is None

    def fault(
        self, image: np.ndarray, hand: DetectedHand, tolerance: float = MIRROR_TOLERANCE
    ) -> Fault | None:
        """What `checked` finds wrong: the mirror image is no hand, of the same side, or too far off."""
        return self.disagreement(hand, self.mirrored(image, hand), tolerance)

    def mirrored(self, image: np.ndarray, hand: DetectedHand) -> DetectedHand:
        """A hand as its mirror image, shown a little wider, has it, mirrored back."""
        square = square_of_joints(hand.joints_px)
        square = square._replace(side=_MIRROR_WIDER * square.side)
        return self._look(image, square, mirror=True)

    def disagreement(
        self, hand: DetectedHand, mirrored: DetectedHand, tolerance: float = MIRROR_TOLERANCE
    ) -> Fault | None:
        """`fault` of a hand whose `mirrored` is known."""
        if mirrored.score < self._least_hand:
            return "no hand"
        if mirrored.side != hand.side:
            return "side"
        return None if distance(mirrored, hand) <= tolerance else "off"

    def _turned(self, image: np.ndarray, box: np.ndarray) -> DetectedHand:
        """The hand in a box, of the first turn of which the network is sure, or of the best one."""
        hands: list[DetectedHand] = []
        for quarter in range(4):
            first = self._look(image, square_of_box(box, quarter * math.pi / 2))
            hands.append(self.follow(image, first.joints_px))
            if hands[-1].score >= _SURE:
                break
        return max(hands, key=lambda hand: hand.score)

    def _squares(
        self, part: np.ndarray, corner: ArrayLike = (0, 0), share: float = 1.0
    ) -> list[tuple[float, Square]]:
        """The scores and the squares, in the picture, of the palms of a part that begins at a corner, px."""
        found = []
        for palm in find_palms(self._palms, part, min(_WEAK, self._least_palm), share):
            square = square_of_palm(palm.box, palm.keypoints)
            found.append((palm.score, square._replace(centre=square.centre + corner)))
        return found

    def _hands(
        self,
        image: np.ndarray,
        palms: list[tuple[float, Square]],
        known: list[DetectedHand],
        sure: float,
    ) -> list[DetectedHand]:
        """The hands that are known, and those of palms that aren't yet.

        Of answers about the same hand the best one counts, with a palm below the score `sure` the best one
        that passes the check.
        """
        hands = list(known)
        found = [(score, self._look(image, square)) for score, square in palms]
        for score, hand in sorted(found, key=lambda pair: -pair[1].score):
            if hand.score < self._least_hand or any(same_hand(hand, other) for other in hands):
                continue
            if score >= sure or self.checked(image, hand):
                hands.append(hand)
        return hands

    def _look(self, image: np.ndarray, square: Square, mirror: bool = False) -> DetectedHand:
        """Run the landmark network on a square, or on its mirror image and mirror the answer back."""
        size = LANDMARKS.side
        A = square.matrix(size)
        step = min(int(square.side // (2 * size)), *image.shape[:2])
        if (
            step > 1
        ):  # blocks averaged first: crop_image's own filter takes long over so many pixels
            height, width = (length // step for length in image.shape[:2])
            blocks = image[: height * step, : width * step]
            image = cv2.resize(blocks, (width, height), interpolation=cv2.INTER_AREA)
            A = A @ np.diag([step, step, 1.0])
        crop = crop_image(image, A, size)
        if mirror:
            crop = crop[:, ::-1]
        outputs = self._landmarks(np.ascontiguousarray(crop[None], np.float32) / 255)
        points, world = (outputs[i].reshape(21, 3).astype(np.float64) for i in (0, 3))
        score, right = (float(outputs[i].item()) for i in (1, 2))
        is_right = right > 0.5
        if mirror:
            points = points * [-1, 1, 1] + [size, 0, 0]
            world = world * [-1, 1, 1]
            is_right = not is_right
        scale, turn = square.side / size, square.turn()
        joints = (points[:, :2] - size / 2) @ turn.T * scale + square.centre
        world = world - world[0]
        world[:, :2] = world[:, :2] @ turn.T
        return DetectedHand(
            side="right" if is_right else "left",
            score=score,
            box=np.concatenate([joints.min(0), joints.max(0)]),
            joints_px=joints,
            depth=_DEPTH * scale * (points[:, 2] - points[0, 2]),
            joints_world=world,
        )


def distance(a: DetectedHand, b: DetectedHand) -> float:
    """Mean distance of the joints over the longer side of the second one's box."""
    apart = np.linalg.norm(a.joints_px - b.joints_px, axis=1).mean()
    return float(apart / max((b.box[2:] - b.box[:2]).max(), 1e-6))


def same_hand(a: DetectedHand, b: DetectedHand) -> bool:
    """Whether two answers about a picture are the same hand."""
    return min(distance(a, b), distance(b, a)) < _SAME_HAND


def _about(image: np.ndarray, box: np.ndarray) -> Part:
    """What the picture shows of twice the box."""
    reach = (box[2:] - box[:2]).max()
    middle = (box[:2] + box[2:]) / 2
    size = np.array(image.shape[1::-1])
    x1, y1 = low = np.clip(np.floor(middle - reach), 0, size - 1).astype(int)
    x2, y2 = np.maximum(np.clip(np.ceil(middle + reach), 0, size).astype(int), low + 1)
    return image[y1:y2, x1:x2], low


def _check_image(image: np.ndarray) -> None:
    if (
        not isinstance(image, np.ndarray)
        or image.dtype != np.uint8
        or image.ndim != 3
        or image.shape[2] != 3
        or image.size == 0
    ):
        what = f"{getattr(image, 'dtype', type(image).__name__)} {getattr(image, 'shape', '')}"
        raise UserError(
            f"image: expected (H, W, 3) uint8 RGB, got {what}; amvur_jax.files.image.read_image "
            "gives that"
        )


def _checked_box(box: ArrayLike, image: np.ndarray) -> np.ndarray:
    box = np.asarray(box, np.float64)
    height, width = image.shape[:2]
    if box.shape == (4,) and np.isfinite(box).all():
        x1, y1, x2, y2 = box
        if min(x2, width) > max(x1, 0) and min(y2, height) > max(y1, 0):
            # As much of a hand as may lie beside the picture; crops much larger would take long.
            size = np.array([width, height, width, height])
            return np.clip(box, -size, 2 * size)
    raise UserError(
        f"box={box.tolist()}: expected x1, y1, x2, y2 in pixels with x1 < x2 and y1 < y2, of which "
        f"a part is in the picture of {width} x {height}"
    )
