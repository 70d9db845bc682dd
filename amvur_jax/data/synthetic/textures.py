"""Made-up pictures of surfaces, for the backgrounds of synthetic frames: (H, W, 3) in [0, 1]."""

import cv2
import numpy as np


def noise(
    rng: np.random.Generator, size: tuple[int, int], cells: int = 6, octaves: int = 4
) -> np.ndarray:
    """Cloud-like noise: random grids, ever finer and weaker.

    Args:
      rng: numpy Generator.
      size: (H, W).
      cells: cells across of the coarsest grid.
      octaves: number of grids.

    Returns:
      (H, W) float32 in [0, 1].
    """
    height, width = size
    total = np.zeros(size, np.float32)
    for octave in range(octaves):
        across = cells * 2**octave
        down = max(2, across * height // width)
        grid = rng.random((down, across), dtype=np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    low, high = total.min(), total.max()
    return (total - low) / (high - low)


def gradient(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A soft change of light across a wall."""
    y, x = np.mgrid[-1 : 1 : size[0] * 1j, -1 : 1 : size[1] * 1j].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = 0.5 + 0.35 * (x * np.cos(angle) + y * np.sin(angle))
    return _mix(np.clip(ramp + 0.15 * (noise(rng, size, 3, 2) - 0.5), 0, 1), *_palette(rng, 0.25))


def plaster(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Noise between two near colours."""
    return _mix(noise(rng, size, int(rng.integers(3, 10))), *_palette(rng, 0.3))


def wood(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Boards: noise drawn out along the grain, with rings and seams."""
    height, width = size
    stretched = noise(rng, (height, max(8, width // 12)), 4, 3)
    grain = cv2.resize(stretched, (width, height), interpolation=cv2.INTER_CUBIC)
    rings = 0.5 + 0.5 * np.sin(2 * np.pi * (grain * rng.uniform(4, 9)))
    fine = cv2.resize(rng.random((height, 8), dtype=np.float32), (width, height))
    light = np.array([0.78, 0.58, 0.38]) * rng.uniform(0.5, 1.15)
    board = _mix(np.clip(0.6 * rings + 0.4 * fine, 0, 1), light * rng.uniform(0.6, 0.8), light)
    seam = int(rng.integers(60, 140))
    board[int(rng.integers(seam)) :: seam] *= 0.55
    return board


def checks(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A checked or striped cloth."""
    height, width = size
    cell = rng.uniform(18, 60)
    y, x = np.mgrid[:height, :width].astype(np.float32) / cell
    pattern = (np.floor(x) + np.floor(y) * (rng.random() < 0.7)) % 2
    weave = 0.9 + 0.1 * noise(rng, size, 40, 2)
    return _mix(pattern.astype(np.float32), *_palette(rng, 0.5)) * weave[..., None]


def surface(rng: np.random.Generator, size: tuple[int, int], calm: bool) -> np.ndarray:
    """A surface of a random kind, seen at a slant.

    Args:
      rng: numpy Generator.
      size: (H, W).
      calm: True for walls without contours.

    Returns:
      (H, W, 3) float32 in [0, 1].
    """
    makers = (gradient, plaster) if calm else (gradient, plaster, wood, checks, checks, wood)
    picture = makers[rng.integers(len(makers))](rng, size)
    if not calm:
        picture = _slanted(rng, picture)
    return np.clip(picture, 0.02, 0.98).astype(np.float32)


def scatter(rng: np.random.Generator, picture: np.ndarray, count: int) -> np.ndarray:
    """Draws blobs, sheets and rods of other surfaces over a picture: the clutter of a desk."""
    height, width = picture.shape[:2]
    for _ in range(count):
        patch = surface(rng, (height, width), calm=bool(rng.random() < 0.5))
        mask: np.ndarray = np.zeros((height, width), np.float32)
        centre = rng.uniform([0, 0], [width, height])
        radius = rng.uniform(20, 150)
        corners = int(rng.integers(3, 9))
        angle = np.sort(rng.uniform(0, 2 * np.pi, corners))
        reach = radius * rng.uniform(0.5, 1.0, corners) * np.array([[1.0], [rng.uniform(0.2, 1)]])
        outline = centre + np.stack([np.cos(angle), np.sin(angle)], -1) * reach.T
        cv2.fillPoly(mask, [np.round(outline).astype(np.int32)], 1.0)
        shadow = cv2.GaussianBlur(np.roll(mask, (4, 6), (0, 1)), (0, 0), 6)[..., None]
        mask = cv2.GaussianBlur(mask, (0, 0), 0.8)[..., None]
        picture = picture * (1 - 0.4 * shadow)
        picture = picture * (1 - mask) + patch * mask
    return picture.astype(np.float32)


def _palette(rng: np.random.Generator, contrast: float) -> tuple[np.ndarray, np.ndarray]:
    """Two colours that differ by about `contrast`."""
    gray = rng.uniform(0.12, 0.9)
    first = gray + rng.normal(0, 0.09, 3)
    second = first + contrast * rng.uniform(-1, 1) + 0.15 * contrast * rng.normal(size=3)
    return np.clip(first, 0.05, 0.95), np.clip(second, 0.05, 0.95)


def _mix(weight: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    weight = weight[..., None]
    return (first * (1 - weight) + second * weight).astype(np.float32)


def _slanted(rng: np.random.Generator, picture: np.ndarray) -> np.ndarray:
    """The picture as a plane seen from a random side; it still fills the frame."""
    height, width = picture.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = corners.mean(axis=0)
    moved = (corners - middle) @ turn * 1.6 + middle
    moved += rng.uniform(-0.15, 0.15, (4, 2)) * [width, height]
    matrix = cv2.getPerspectiveTransform(moved.astype(np.float32), corners)
    return cv2.warpPerspective(
        picture,
        np.linalg.inv(matrix),
        (width, height),
        flags=cv2.INTER_AREA,
        borderMode=cv2.BORDER_REFLECT,
    )
