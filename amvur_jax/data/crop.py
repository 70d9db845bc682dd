"""The crop about the hand as ONE affine map, for pixels, intrinsics and 2D labels alike.

Coordinates: the centre of the first pixel is at (0.5, 0.5), so a crop of S pixels spans [0, S].
"""

import cv2
import numpy as np

PADDING_PX = 10.0
SIDE_RANGE_PX = (50.0, 640.0)
JITTER_SIGMAS = 4.0
# The published crop shows 200/224 of the square that its intrinsics assume: the part that the
# backbone saw is what is kept here, for both.
SHOWN = 200.0 / 224.0

_HALF = np.array([[1.0, 0.0, 0.5], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


def crop_box(box, image_size, rng=None, jitter_px=5.0):
    """Place the square crop about a hand.

    Args:
      box: (4,) x1, y1, x2, y2 about the hand, or (n, 2) points on it, pixels.
      image_size: (width, height) of the image, pixels.
      rng: a numpy Generator that moves the centre, or None for no jitter.
      jitter_px: standard deviation of that move along each axis, pixels.

    Returns:
      centre (2,) and side of the square, pixels, and whether the hand's centre is in the image
      (if it is not, or if a coordinate is not finite, the square is the middle of the image).
    """
    box = np.asarray(box, np.float64)
    if box.ndim == 2:
        box = np.concatenate([box.min(axis=0), box.max(axis=0)])
    size = np.asarray(image_size, np.float64)
    corners = box.reshape(2, 2)
    usable = bool(np.isfinite(box).all() and (corners[1] >= corners[0]).all())
    usable = usable and bool(((corners.mean(axis=0) >= 0) & (corners.mean(axis=0) <= size)).all())
    jitter = np.zeros(2)
    if rng is not None:
        # Bounded, so that a region which any crop fits into exists.
        jitter = jitter_px * np.clip(rng.standard_normal(2), -JITTER_SIGMAS, JITTER_SIGMAS)
    if not usable:
        return size / 2, SHOWN * np.clip(size.max(), *SIDE_RANGE_PX), False
    corners = np.clip(corners, 0, size) + PADDING_PX * np.array([[-1], [1]])
    centre = corners.mean(axis=0) + jitter
    half = np.abs(corners - centre).max()
    return centre, SHOWN * np.clip(4 * half, *SIDE_RANGE_PX), True


def crop_matrix(centre, side, size, angle=0.0):
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


def whole_image_box(image_size):
    """The box whose crop is the largest square about the middle of the image.

    Args:
      image_size: (width, height), pixels.

    Returns:
      (4,) x1, y1, x2, y2, pixels.
    """
    size = np.asarray(image_size, np.float64)
    half = size.min() / (4 * SHOWN) - PADDING_PX
    return np.concatenate([size / 2 - half, size / 2 + half])


def crop_image(image, A, size):
    """Cut the crop out of the image: bilinear, black outside, smoothed first where it shrinks.

    Args:
      image: (H, W, 3) uint8.
      A: (3, 3) affine map from image pixels to crop pixels.
      size: side of the crop, pixels.

    Returns:
      (size, size, 3) uint8.
    """
    scale = np.sqrt(abs(np.linalg.det(A[:2, :2])))
    # The part of the image that the crop shows, plus what the filter reaches.
    margin = 2 + int(np.ceil(4 / scale))
    edge = (np.array([[0, size, 0, size], [0, 0, size, size], [1] * 4]) - A[:, 2:])[:2]
    seen = np.linalg.solve(A[:2, :2], edge)
    low = np.clip(np.floor(seen.min(axis=1)).astype(int) - margin, 0, None)
    high = np.ceil(seen.max(axis=1)).astype(int) + margin
    image = image[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
    if image.size == 0:
        return np.zeros((size, size, 3), np.uint8)
    if scale < 1:
        # A pixel of the crop averages 1/scale pixels: this brings a sharp pixel to that width.
        image = cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(scale**-2 - 1))
    shift = np.array([[1.0, 0.0, low[0]], [0.0, 1.0, low[1]], [0.0, 0.0, 1.0]])
    # OpenCV puts pixel centres at integers.
    warp = np.linalg.inv(_HALF) @ A @ shift @ _HALF
    return cv2.warpAffine(image, warp[:2], (size, size), flags=cv2.INTER_LINEAR)
