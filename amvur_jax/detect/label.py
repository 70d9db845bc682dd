"""Landmarks for pictures of one hand each that have none: labels to train on."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
from tqdm import tqdm

from amvur_jax.detect.detector import DetectedHand, Detector, distance

# Of the mirrored-crop check: stricter than for a hand that a person looks at (`detector.MIRROR_TOLERANCE`).
TOLERANCE = 0.05
_SHAPES = {
    "side": (),
    "box": (4,),
    "joints_px": (21, 2),
    "depth": (21,),
    "joints_world": (21, 3),
    "score": (),
}


def label_pictures(
    pictures: Iterable[tuple[str, np.ndarray]], detector: Detector, total: int | None = None
) -> tuple[dict[str, np.ndarray], Counter[str]]:
    """Label the pictures whose hand passes the mirrored-crop check.

    Args:
      pictures: (name, (H, W, 3) uint8 RGB) each, one hand in it.
      detector: finds the hands.
      total: how many there are, for the progress bar.

    Returns:
      arrays with a row for each picture that passed, `names` and the fields of DetectedHand; and why how
      many others were refused: "several" hands, "unsteady" when looked at again, or a `Detector.fault`.
    """
    names: list[str] = []
    hands: list[DetectedHand] = []
    refused: Counter[str] = Counter()
    for name, image in tqdm(pictures, total=total, unit="image", desc="label", dynamic_ncols=True):
        hand, fault = label_picture(detector, image)
        if fault is None:
            names.append(name)
            hands.append(hand)
        else:
            refused[fault] += 1
    labels = {"names": np.array(names, dtype=np.str_)}
    for field, shape in _SHAPES.items():
        values = np.array([getattr(hand, field) for hand in hands])
        labels[field] = values.reshape(len(hands), *shape)
    return labels, refused


def label_picture(detector: Detector, image: np.ndarray) -> tuple[DetectedHand, str | None]:
    """The hand of a picture, looked at again by its own landmarks, and what is wrong with it.

    Where the hand that is found is no good, the whole picture is taken as its box.
    """
    found = detector(image)
    if len(found) > 1:
        return found[0], "several"
    for first in found:
        hand, fault = _again(detector, image, first)
        if fault is None:
            return hand, None
    height, width = image.shape[:2]
    return _again(detector, image, detector.landmarks(image, [0, 0, width, height]))


def _again(
    detector: Detector, image: np.ndarray, first: DetectedHand
) -> tuple[DetectedHand, str | None]:
    hand = detector.follow(image, first.joints_px)
    unsteady = distance(hand, first) > TOLERANCE
    return hand, detector.fault(image, hand, TOLERANCE) or ("unsteady" if unsteady else None)
