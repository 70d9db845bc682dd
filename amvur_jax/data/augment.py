"""Random changes of a training picture: how much of each, and those of its colours.

The geometric ones are one affine map of the picture and one rigid map of the camera frame, which
amvur_jax.data.sample applies to pixels, intrinsics, joints, pose and mesh together.
"""

import dataclasses
from typing import NamedTuple

import cv2
import numpy as np

from amvur_jax.errors import UserError

_LUMA = np.array([0.299, 0.587, 0.114])
# What a stored region must hold is decided by these fields alone.
GEOMETRIC = ("jitter_px", "rotation", "scale", "shift")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """How much a training picture is changed; configs/default.py says what each field means."""

    jitter_px: float = 5.0
    rotation: float = 0.0
    scale: float = 0.0
    shift: float = 0.0
    color: float = 0.0
    occlusion: float = 0.0
    degrade: float = 0.0
    background: float = 0.0
    mirror_left: bool = True

    def check(self, where: str) -> None:
        """Raise a UserError that names the field where a number makes no sense."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            top = {
                "rotation": 180.0,
                "color": 1.0,
                "occlusion": 1.0,
                "degrade": 1.0,
                "background": 1.0,
                "shift": 0.5,
            }.get(field.name)
            if not 0 <= value <= (1e3 if top is None else top):
                raise UserError(
                    f"{where}.{field.name}: {value} is out of range; give 0 (off) to {top or 1e3:g}"
                )

    def exceeds(self, reach: "Augmentation") -> str | None:
        """The first geometric field that is larger than in another Augmentation, or None."""
        return next((n for n in GEOMETRIC if getattr(self, n) > getattr(reach, n)), None)


class View(NamedTuple):
    """One draw of the geometric changes, about the crop.

    Attributes:
      angle: turn in the picture, radians, from x towards y.
      scale: factor of the crop's side.
      shift: (2,) move of the crop's centre, in its sides.
    """

    angle: float
    scale: float
    shift: np.ndarray


STILL = View(0.0, 1.0, np.zeros(2))


def draw_view(rng: np.random.Generator, augmentation: Augmentation) -> View:
    """Draw the geometric changes of one sample."""
    turn, zoom, *shift = rng.uniform(-1, 1, 4)
    return View(
        angle=np.deg2rad(augmentation.rotation) * turn,
        scale=(1 + augmentation.scale) ** zoom,
        shift=augmentation.shift * np.array(shift),
    )


def recolor(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Change brightness, contrast, saturation and white balance.

    Args:
      image: (S, S, 3) uint8 RGB.
      rng: numpy Generator.
      strength: share by which each may change, 0 to 1.

    Returns:
      (S, S, 3) uint8.
    """
    brightness, contrast, saturation, *balance = strength * rng.uniform(-1, 1, 6)
    # One affine map of colour: grey is kept by the saturation, mid-grey by the contrast.
    matrix = (1 + saturation) * np.eye(3) - saturation * _LUMA
    matrix = (1 + contrast) * (1 + np.array(balance)[:, None] / 4) * matrix
    offset = 128 * (brightness - contrast)
    return cv2.transform(image, np.column_stack([matrix, np.full(3, offset)]))


def degrade(image: np.ndarray, rng: np.random.Generator, share: float) -> np.ndarray:
    """Make a picture worse as cheap cameras and the web do: low resolution, blur, motion, grain, JPEG.

    Args:
      image: (S, S, 3) uint8 RGB.
      rng: numpy Generator.
      share: how often each of the five happens, 0 to 1.

    Returns:
      (S, S, 3) uint8.
    """
    size = image.shape[1::-1]
    low, soft, moved, grain, jpeg = rng.random(5) < share
    if low:
        small = tuple(max(8, int(s * rng.uniform(0.4, 0.9))) for s in size)
        way_back = cv2.INTER_LINEAR if rng.random() < 0.7 else cv2.INTER_NEAREST
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        image = cv2.resize(image, size, interpolation=way_back)
    if soft:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.2))
    if moved:
        angle, kernel = rng.uniform(0, np.pi), np.zeros((5, 5), np.float32)
        for t in np.linspace(-1, 1, 9) * rng.uniform(0.5, 2):
            x, y = np.round(2 + t * np.array([np.cos(angle), np.sin(angle)])).astype(int)
            kernel[y, x] += 1 / 9
        image = cv2.filter2D(image, -1, kernel)
    if grain:
        noise = rng.standard_normal(image.shape, dtype=np.float32) * rng.uniform(1, 12)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if jpeg:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 96))]
        written = cv2.imencode(".jpg", image, quality)[1]
        image = cv2.imdecode(written, cv2.IMREAD_COLOR)  # type: ignore[assignment]  # ours to read
    return image


def occlude(image: np.ndarray, rng: np.random.Generator, points: np.ndarray) -> np.ndarray:
    """Draw one patch over a part of the hand; the labels stay: the hand is behind it.

    Args:
      image: (S, S, 3) uint8 RGB, changed in place.
      rng: numpy Generator.
      points: (n, 2) crop pixels, one of which the patch is laid about.

    Returns:
      (S, S) bool, the patch.
    """
    size = len(image)
    at = points[rng.integers(len(points))] + rng.normal(0, 0.05 * size, 2)
    half, angle = size * rng.uniform(0.04, 0.16, 2), rng.uniform(0, 180)
    mask = np.zeros((size, size), np.uint8)
    at = tuple(np.clip(at, 0, size))
    if rng.random() < 0.5:
        cv2.ellipse(mask, (at, tuple(2 * half), angle), 1, -1)
    else:
        corners = cv2.boxPoints((at, tuple(2 * half), angle))
        cv2.fillConvexPoly(mask, np.round(corners).astype(np.int32), 1)
    # A few colours that run into one another, with grain.
    color = rng.integers(0, 256, (3, 3, 3), dtype=np.uint8)
    texture = cv2.resize(color, (size, size), interpolation=cv2.INTER_CUBIC)
    cv2.copyTo(texture, mask, image)
    return mask > 0
