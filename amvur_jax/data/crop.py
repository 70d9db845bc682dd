"""The crop about the hand as ONE affine map, for pixels, intrinsics and 2D labels alike.

Coordinates: the centre of the first pixel is at (0.5, 0.5), so a crop of S pixels spans [0, S].
"""

import math

import cv2
import numpy as np
from numpy.typing import ArrayLike

# Lengths of the published crop, px of a picture of 640 x 480; in proportion for others, see `unit`.
PADDING = 10.0
SIDE_RANGE = (50.0, 640.0)
JITTER_SIGMAS = 3.0
# The published crop shows 200/224 of the square that its intrinsics assume: the part that the
# backbone saw is what is kept here, for both.
SHOWN = 200.0 / 224.0


def unit(image_size: tuple[int, int]) -> float:
    """How many pixels of a picture are one of 640 x 480: all that is given in the latter goes by it.

    Args:
      image_size: (width, height), pixels; which of them is the longer plays no part.
    """
    return max(max(image_size) / 640, min(image_size) / 480)


def crop_box(
    box: ArrayLike,
    image_size: tuple[int, int],
    rng: np.random.Generator | None = None,
    jitter_px: float = 5.0,
) -> tuple[np.ndarray, float, bool]:
    """Place the square crop about a hand.

    Args:
      box: (4,) x1, y1, x2, y2 about the hand, or (n, 2) points on it, pixels.
      image_size: (width, height) of the image, pixels.
      rng: a numpy Generator that moves the centre, or None for no jitter.
      jitter_px: standard deviation of that move along each axis, pixels of a picture of 640 x 480.

    Returns:
      centre (2,) and side of the square, pixels, and whether the hand's centre is in the image
      (if it is not, or if a coordinate is not finite, the square is the middle of the image).
    """
    # In plain numbers: this runs for every sample, and numpy's overhead would show.
    box = np.asarray(box, np.float64)
    if box.ndim == 2:
        box = np.concatenate([box.min(axis=0), box.max(axis=0)])
    x1, y1, x2, y2 = box.tolist()
    width, height = image_size
    pixel = unit(image_size)
    padding = PADDING * pixel
    dx, dy = 0.0, 0.0
    if rng is not None:
        # Bounded, so that a region which any crop fits into exists.
        dx, dy = (
            jitter_px * pixel * min(max(draw, -JITTER_SIGMAS), JITTER_SIGMAS)
            for draw in rng.standard_normal(2).tolist()
        )
    # Comparisons with NaN are false; infinite corners have no middle in the image.
    inside = 0 <= (x1 + x2) / 2 <= width and 0 <= (y1 + y2) / 2 <= height
    if not (inside and x1 <= x2 and y1 <= y2):
        return np.array([width / 2, height / 2]), SHOWN * _bounded(max(width, height), pixel), False
    left, right = max(x1, 0) - padding, min(x2, width) + padding
    top, bottom = max(y1, 0) - padding, min(y2, height) + padding
    x, y = (left + right) / 2 + dx, (top + bottom) / 2 + dy
    half = max(right - x, x - left, bottom - y, y - top)
    return np.array([x, y]), SHOWN * _bounded(4 * half, pixel), True


def _bounded(side: float, pixel: float) -> float:
    return min(max(side, SIDE_RANGE[0] * pixel), SIDE_RANGE[1] * pixel)


def crop_matrix(centre: ArrayLike, side: float, size: int, angle: float = 0.0) -> np.ndarray:
    """The affine map A from image pixels to crop pixels; K_crop = A K.

    Args:
      centre: (2,) middle of the square in the image, pixels.
      side: its side, pixels.
      size: side of the crop, pixels.
      angle: radians by which the crop's content is turned, from x towards y.

    Returns:
      (3, 3) float64.
    """
    c, s = size / side * np.cos(angle), size / side * np.sin(angle)
    x, y = np.asarray(centre)
    half = size / 2
    return np.array([[c, -s, half - c * x + s * y], [s, c, half - s * x - c * y], [0.0, 0.0, 1.0]])


def whole_image_box(image_size: tuple[int, int]) -> np.ndarray:
    """The box whose crop is the largest square about the middle of the image.

    Args:
      image_size: (width, height), pixels.

    Returns:
      (4,) x1, y1, x2, y2, pixels.
    """
    size = np.asarray(image_size, np.float64)
    half = size.min() / (4 * SHOWN) - PADDING * unit(image_size)
    return np.concatenate([size / 2 - half, size / 2 + half])


def crop_mask(mask: np.ndarray, A: np.ndarray, size: int) -> np.ndarray:
    """Cut the crop out of a mask: of each pixel the nearest one, False outside.

    Args:
      mask: (H, W) bool.
      A: (3, 3) affine map from image pixels to crop pixels.
      size: side of the crop, pixels.

    Returns:
      (size, size) bool.
    """
    # OpenCV puts pixel centres at integers, ours are half a pixel further.
    warp = np.column_stack([A[:2, :2], A[:2] @ [0.5, 0.5, 1.0] - 0.5])
    crop = cv2.warpAffine(mask.astype(np.uint8), warp, (size, size), flags=cv2.INTER_NEAREST)
    return crop > 0


def crop_image(image: np.ndarray, A: np.ndarray, size: int) -> np.ndarray:
    """Cut the crop out of the image: bilinear, black outside, smoothed first where it shrinks.

    Args:
      image: (H, W, 3) uint8.
      A: (3, 3) affine map from image pixels to crop pixels.
      size: side of the crop, pixels.

    Returns:
      (size, size, 3) uint8.
    """
    (a, b, x), (c, d, y) = A[:2].tolist()
    determinant = a * d - b * c
    scale = math.sqrt(abs(determinant))
    # The part of the image that the crop shows, plus what the filter reaches.
    margin = 2 + math.ceil(4 / scale)
    corners = [(u - x, v - y) for u in (0, size) for v in (0, size)]
    columns = [(d * u - b * v) / determinant for u, v in corners]
    rows = [(a * v - c * u) / determinant for u, v in corners]
    left, top = (max(math.floor(min(seen)) - margin, 0) for seen in (columns, rows))
    right, bottom = (max(math.ceil(max(seen)) + margin, 0) for seen in (columns, rows))
    image = image[top:bottom, left:right]
    if image.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    if scale < 1:
        # A pixel of the crop averages 1/scale pixels: this brings a sharp pixel to that width.
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * math.sqrt(scale**-2 - 1))
    # OpenCV puts pixel centres at integers, ours are half a pixel further.
    left, top = left + 0.5, top + 0.5
    x, y = a * left + b * top + x - 0.5, c * left + d * top + y - 0.5
    warp = np.array([[a, b, x], [c, d, y]])
    return cv2.warpAffine(image, warp, (size, size), flags=cv2.INTER_LINEAR)
