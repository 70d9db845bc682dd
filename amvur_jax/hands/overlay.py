"""All hands of a photograph drawn over it, hiding one another as they do."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import jax.numpy as jnp
import numpy as np

import render
from amvur_jax.hands.hand import Hand
from amvur_jax.pictures.draw import LIGHT, SKIN

WINDOW = 512  # px: the largest side of a drawn hand; one size, so that one is compiled
SIDES = (640, 1600)  # px: of the overlay's longer side
OPACITY = 0.8
COLORS = {"right": SKIN, "left": (0.95, 0.78, 0.62)}


def overlay(image: np.ndarray, hands: Sequence[Hand], faces: np.ndarray) -> np.ndarray:
    """Draw hands over their photograph: right ones bluish, left ones reddish, one z-buffer for all.

    Args:
      image: (H, W, 3) uint8 RGB.
      hands: of this photograph.
      faces: (F,3) of the right hand.
    Returns:
      (H', W', 3) uint8 RGB: the photograph shrunk or enlarged until its longer side is within SIDES and no
      hand is larger than WINDOW.
    """
    height, width = image.shape[:2]
    boxes = [_seen_box(hand, width, height) for hand in hands]
    longest = max(height, width)
    scale = min(max(longest, SIDES[0]), SIDES[1]) / longest
    largest = max([1.0, *(float((box[2:] - box[:2]).max()) for box in boxes)])
    scale = min(scale, (WINDOW - 2) / largest)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    filter_ = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image, size, interpolation=filter_)
    drawn = picture.astype(np.float32)
    depth = np.full(picture.shape[:2], np.inf)
    stretch = np.array([size[0] / width, size[1] / height])
    for hand, box in zip(hands, boxes):
        x, y = np.floor(box[:2] * stretch).astype(int)
        K = np.diag([*stretch, 1.0]) @ hand.K - np.array([[0, 0, x], [0, 0, y], [0, 0, 0]])
        pixels, mask, fragments = render.render_mesh(
            jnp.asarray(hand.vertices_cam, jnp.float32),
            jnp.asarray(hand.faces(faces)),
            jnp.broadcast_to(jnp.array(COLORS[hand.side]), hand.vertices_cam.shape),
            jnp.asarray(K, jnp.float32),
            (WINDOW, WINDOW),
            light=LIGHT,
        )
        part = depth[y : y + WINDOW, x : x + WINDOW]
        rows, columns = part.shape
        z = np.asarray(fragments.zbuf)[:rows, :columns, 0]
        nearer = np.asarray(mask)[:rows, :columns] & (z < part)
        part[nearer] = z[nearer]
        pixels = 255 * np.clip(np.asarray(pixels)[:rows, :columns], 0, 1)
        drawn[y : y + WINDOW, x : x + WINDOW][nearer] = pixels[nearer]
    return np.rint(OPACITY * drawn + (1 - OPACITY) * picture).astype(np.uint8)


def _seen_box(hand: Hand, width: int, height: int) -> np.ndarray:
    """The box (4,) px about the part of a hand that the picture shows, and before the camera."""
    front = hand.vertices_cam[hand.vertices_cam[:, 2] > 0]
    seen = front @ hand.K.T
    size = [width, height]
    if not len(front):
        return np.zeros(4)
    pixels = np.clip(seen[:, :2] / seen[:, 2:], 0, size)
    return np.concatenate([pixels.min(0), pixels.max(0)])
