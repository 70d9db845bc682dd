"""Palms in a picture: the letterboxed input, the anchors, and overlapping answers put together.

The network's description (192 px, anchors of size 1 on two grids, boxes and keypoints relative to their
anchor, suppression by averaging) is that of MediaPipe's palm_detection (Apache-2.0).
"""

from typing import NamedTuple

import cv2
import numpy as np

from amvur_jax.detect.networks import PALMS, Network

# Cells along a side of each grid, and anchors in a cell.
_GRIDS = ((24, 2), (12, 6))
_KEYPOINTS = 7
_SAME_PALM = 0.3  # intersection over union


class Palm(NamedTuple):
    """A palm: its score in [0, 1], box (4,) x1, y1, x2, y2 and keypoints (7, 2), px of the picture."""

    score: float
    box: np.ndarray
    keypoints: np.ndarray


def anchors() -> np.ndarray:
    """The centres of the anchors, (2016, 2): x, y as shares of the input's side."""
    grids = []
    for cells, each in _GRIDS:
        centre = (np.arange(cells) + 0.5) / cells
        x, y = np.meshgrid(centre, centre)
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], 1), each, axis=0))
    return np.concatenate(grids)


_ANCHORS = anchors()


def find_palms(network: Network, image: np.ndarray, least: float, share: float = 1.0) -> list[Palm]:
    """Find palms.

    Args:
      network: the palm network.
      image: (H, W, 3) uint8 RGB.
      least: the score from which on an anchor's answer counts.
      share: of the network's input that the picture fills: less than 1 for hands that fill the picture.

    Returns:
      the palms, best first.
    """
    pixels, scale, corner = letterbox(image, PALMS.side, share)
    answers, logits = network(pixels[None].astype(np.float32) / 255)
    scores = 1 / (1 + np.exp(-np.clip(logits.reshape(-1), -80, 80)))
    kept = scores >= least
    answers = answers.reshape(len(_ANCHORS), 2 + _KEYPOINTS, 2)[kept].astype(np.float64)
    centres = _ANCHORS[kept] * PALMS.side
    middles, sizes = answers[:, 0] + centres, answers[:, 1]
    points = answers[:, 2:] + centres[:, None]
    points = np.concatenate(
        [(middles - sizes / 2)[:, None], (middles + sizes / 2)[:, None], points], 1
    )
    return [
        Palm(score, merged[:2].ravel(), merged[2:])
        for score, merged in _merged(scores[kept], (points - corner) / scale)
    ]


def letterbox(
    image: np.ndarray, side: int, share: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Show a whole picture in the middle of a black square.

    Args:
      image: (H, W, 3) uint8.
      side: of the square, px.
      share: of the square's side that the longer side of the picture takes.

    Returns:
      (side, side, 3) uint8, and scale (2,) and corner (2,) px: x_square = scale x_image + corner.
    """
    size = np.array(image.shape[1::-1])
    shown = np.maximum(np.rint(size * (share * side / size.max())), 1).astype(int)
    filter_ = cv2.INTER_AREA if size.max() > shown.max() else cv2.INTER_LINEAR
    small = cv2.resize(image, shown.tolist(), interpolation=filter_)
    x, y = corner = (side - shown) // 2
    square = np.zeros((side, side, 3), np.uint8)
    square[y : y + shown[1], x : x + shown[0]] = small
    return square, shown / size, corner


def overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of a box (4,) with each of boxes (n, 4): (n,)."""
    inner = np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2])
    both = np.clip(inner, 0, None).prod(1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return both / np.maximum((box[2:] - box[:2]).prod() + areas - both, 1e-12)


def _merged(scores: np.ndarray, points: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Put answers about the same palm together, weighted by their scores.

    Args:
      scores: (n,).
      points: (n, 9, 2); the first two are the corners of the box.

    Returns:
      of each palm its highest score and its points (9, 2), best first.
    """
    boxes, palms = points[:, :2].reshape(-1, 4), []
    left = np.argsort(-scores, kind="stable")
    while len(left):
        same = overlap(boxes[left[0]], boxes[left]) > _SAME_PALM
        same[0] = True
        group = left[same]
        palms.append(
            (float(scores[left[0]]), np.average(points[group], axis=0, weights=scores[group]))
        )
        left = left[~same]
    return palms
