"""Real hands before other backgrounds: the hand of a photograph with a plain one, cut out."""

import functools

import cv2
import numpy as np

from amvur_jax.data.synthetic.backdrops import BACKDROP, draw_backdrop

_BACKDROPS, _SEED = 192, 20
# Of a mask that is believed: the share of the joints that it covers, and of the picture.
_JOINTS, _AREA = 0.95, (0.03, 0.6)
_PLAIN = 14.0  # how far a plain background's colours spread, of 255


def hand_mask(image: np.ndarray, joints_px: np.ndarray) -> np.ndarray | None:
    """Where the hand is in front of a plain background.

    The background is what the upper corners' colour is, Otsu's threshold parts the rest from it, and the
    joints say whether that is the hand.

    Args:
      image: (H, W, 3) uint8 RGB.
      joints_px: (21, 2) px.

    Returns:
      (H, W) uint8, 255 on the hand, soft at its edge; None where the background is not plain, or what stands
      out is not the hand.
    """
    height, width = image.shape[:2]
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32)
    h, w = max(2, height // 10), max(2, width // 6)
    corners = np.concatenate([lab[:h, :w].reshape(-1, 3), lab[:h, -w:].reshape(-1, 3)])
    color = np.median(corners, 0)
    if np.abs(corners - color).mean() > _PLAIN:
        return None
    # What is brighter is the flash on the wall, what is a little darker a shadow: hue counts most.
    off = lab - color
    off[..., 0] = np.minimum(off[..., 0], 0)
    off = np.linalg.norm(off * [0.3, 3.0, 3.0], axis=-1)
    off = np.clip(off, 0, 255).astype(np.uint8)
    mask = cv2.threshold(off, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)[1]
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    place = np.floor(joints_px).astype(int)
    inside = ((place >= 0) & (place < [width, height])).all(-1)
    if inside.mean() < _JOINTS:
        return None
    x, y = place[inside].T
    parts = cv2.connectedComponents(mask)[1]
    hand = np.bincount(parts[y, x], minlength=parts.max() + 1)
    hand[0] = 0
    mask = np.where(parts == hand.argmax(), 255, 0).astype(np.uint8)
    around = cv2.dilate(mask, np.ones((5, 5), np.uint8))
    if hand.max() == 0 or (around[y, x] > 0).mean() < _JOINTS:
        return None
    if not _AREA[0] < (mask > 0).mean() < _AREA[1]:
        return None
    return cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3), np.uint8)), (0, 0), 0.8)


def relay(image: np.ndarray, rng: np.random.Generator, joints_px: np.ndarray) -> np.ndarray:
    """The hand before a made-up background; the image itself where it cannot be cut out.

    Args:
      image: (H, W, 3) uint8 RGB.
      rng: numpy Generator.
      joints_px: (21, 2) px.

    Returns:
      (H, W, 3) uint8.
    """
    mask = hand_mask(image, joints_px)
    if mask is None:
        return image
    backdrop = _backdrops()[rng.integers(_BACKDROPS)]
    corner = rng.integers(0, BACKDROP // 3, 2)
    side = int(rng.integers(BACKDROP // 2, BACKDROP - corner.max() + 1))
    part = backdrop[corner[1] : corner[1] + side, corner[0] : corner[0] + side]
    size = image.shape[1::-1]
    behind = cv2.resize(part, size, interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        behind = behind[:, ::-1]
    share = mask[..., None].astype(np.float32) / 255
    return np.round(image * share + behind * (1 - share)).astype(np.uint8)


@functools.cache
def _backdrops() -> np.ndarray:
    rng = np.random.default_rng(_SEED)
    return np.stack([draw_backdrop(rng) for _ in range(_BACKDROPS)])
