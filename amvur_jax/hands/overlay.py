"""All hands of a photograph drawn over it, hiding one another as they do."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from amvur_jax.data.frame import project
from amvur_jax.hands.colors import vertex_normals
from amvur_jax.hands.hand import Hand
from amvur_jax.pictures.draw import LIGHT, SKIN

WINDOW = 512  # px: the largest side of a drawn hand
SIDES = (640, 1600)  # px: of the overlay's longer side
OPACITY = 0.8
_NEAR = 1e-3  # m
_SHIFT = 4  # binary digits of a pixel
_SLIVER = 1e-3  # px², twice the area
COLORS = {"right": SKIN, "left": (0.95, 0.78, 0.62)}


def overlay(image: np.ndarray, hands: Sequence[Hand], faces: np.ndarray) -> np.ndarray:
    """Draw hands over their photograph: right ones bluish, left ones reddish, hiding one another.

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
    if hands:
        _draw(picture, hands, faces, np.array([size[0] / width, size[1] / height]))
    return picture


def _draw(
    picture: np.ndarray, hands: Sequence[Hand], faces: np.ndarray, stretch: np.ndarray
) -> None:
    """Blend hands into a picture (H,W,3), `stretch` (2,) times the size of theirs.

    Painted from far to near, which is right wherever no surface goes through another: OpenCV takes a
    hundredth of what a z-buffer in XLA takes to compile.
    """
    parts = [_triangles(hand, faces, stretch) for hand in hands]
    corners, depths, lights = (np.concatenate(each) for each in zip(*parts))
    colors = np.repeat([COLORS[hand.side] for hand in hands], [len(p[0]) for p in parts], axis=0)
    height, width = picture.shape[:2]
    low = np.clip(np.floor(corners.min((0, 1), initial=np.inf)) - 1, 0, [width, height])
    high = np.clip(np.ceil(corners.max((0, 1), initial=-np.inf)) + 1, low, [width, height])
    (x1, y1), (x2, y2) = low.astype(int), high.astype(int)
    part = picture[y1:y2, x1:x2]
    nearest = np.full(part.shape[:2], -1, np.int32)
    # OpenCV puts pixel centres at integers, ours are half a pixel further.
    corners = corners - [x1 + 0.5, y1 + 0.5]
    points = np.rint(corners * 2**_SHIFT).clip(-(2**28), 2**28).astype(np.int32)
    for face in np.argsort(-depths, kind="stable").tolist():
        cv2.fillConvexPoly(nearest, points[face], face, shift=_SHIFT)
    pixels = np.flatnonzero(nearest >= 0)
    rows, columns = np.divmod(pixels.astype(np.int32), int(x2 - x1))
    face = nearest.take(pixels)
    slopes = _slopes(corners, lights)
    start = lights[:, 0] - (slopes * corners[:, 0]).sum(-1)
    planes = np.column_stack([start, slopes, lights.min(-1), lights.max(-1)]).astype(np.float32)
    at, right, down, darkest, lightest = planes.take(face, 0).T
    light = at + right * columns.astype(np.float32) + down * rows.astype(np.float32)
    light = np.clip(light, darkest, lightest)  # what an edge covers is a bit outside
    # A channel at a time, and by take: numpy is slow at rows of three and at two indices.
    for channel, color in enumerate(255 * colors.T.astype(np.float32)):
        drawn = np.minimum(color.take(face) * light, 255)
        plane = part[..., channel].copy()
        mixed = OPACITY * drawn + (1 - OPACITY) * plane.take(pixels).astype(np.float32)
        plane.put(pixels, np.rint(mixed).astype(np.uint8))
        part[..., channel] = plane


def _triangles(
    hand: Hand, faces: np.ndarray, stretch: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The faces before the camera: corners (n,3,2) px, depth (n,) m, and the light at each corner (n,3)."""
    own, vertices = hand.faces(faces), hand.vertices_cam
    own = own[(vertices[own, 2] > _NEAR).all(-1)]
    to_light = np.array(LIGHT.position_cam) - vertices
    to_light /= np.linalg.norm(to_light, axis=-1, keepdims=True)
    cosine = (vertex_normals(vertices, hand.faces(faces)) * to_light).sum(-1)
    light = LIGHT.ambient + LIGHT.diffuse * np.maximum(cosine, 0)
    corners = project(vertices[own], hand.K) * stretch
    return corners, vertices[own, 2].mean(-1), np.asarray(light)[own]


def _slopes(corners: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How values (n,3) at the corners (n,3,2) of triangles change with x and y, (n,2); 0 of slivers."""
    (x1, y1), (x2, y2) = (np.moveaxis(corners[:, i] - corners[:, 0], -1, 0) for i in (1, 2))
    a, b = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    area = x1 * y2 - x2 * y1
    inverse = np.where(np.abs(area) > _SLIVER, 1 / np.where(area == 0, 1, area), 0)
    return np.stack([a * y2 - b * y1, b * x1 - a * x2], -1) * inverse[:, None]


def _seen_box(hand: Hand, width: int, height: int) -> np.ndarray:
    """The box (4,) px about the part of a hand that the picture shows, and before the camera."""
    front = hand.vertices_cam[hand.vertices_cam[:, 2] > 0]
    seen = front @ hand.K.T
    size = [width, height]
    if not len(front):
        return np.zeros(4)
    pixels = np.clip(seen[:, :2] / seen[:, 2:], 0, size)
    return np.concatenate([pixels.min(0), pixels.max(0)])
