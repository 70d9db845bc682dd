"""What stands behind the hands of the stream, (BACKDROP, BACKDROP, 3) uint8: walls, desks, people."""

import cv2
import numpy as np

from amvur_jax.data.synthetic.skin import sample_tone
from amvur_jax.data.synthetic.textures import noise, scatter, surface

BACKDROP = 192
_SIZE = (BACKDROP, BACKDROP)


def draw_backdrop(rng: np.random.Generator) -> np.ndarray:
    """A backdrop of a random kind."""
    kinds = (_plain, _wall, _desk, _clouds, _person)
    picture = kinds[rng.choice(len(kinds), p=(0.2, 0.15, 0.25, 0.15, 0.25))](rng)
    return np.clip(picture * 255 + 0.5, 0, 255).astype(np.uint8)


def _plain(rng: np.random.Generator) -> np.ndarray:
    """One colour, often white or black, a little uneven."""
    shade = rng.choice([rng.uniform(0.75, 1.0), rng.uniform(0.0, 0.15), rng.uniform(0, 1)])
    color = np.clip(shade + rng.normal(0, 0.04, 3), 0, 1)
    uneven = noise(rng, _SIZE, int(rng.integers(2, 5)), 2)[..., None] - 0.5
    return color + uneven * rng.uniform(0.0, 0.25)


def _wall(rng: np.random.Generator) -> np.ndarray:
    return surface(rng, _SIZE, calm=True)


def _desk(rng: np.random.Generator) -> np.ndarray:
    return scatter(rng, surface(rng, _SIZE, calm=False), int(rng.integers(1, 9)))


def _clouds(rng: np.random.Generator) -> np.ndarray:
    """Noise of all sizes in each channel, the channels alike: the statistics of photographs."""
    shared = noise(rng, _SIZE, int(rng.integers(2, 9)), 5)
    own = [noise(rng, _SIZE, int(rng.integers(2, 9)), 4) for _ in range(3)]
    mixed = np.stack([0.7 * shared + 0.3 * one for one in own], -1)
    return (mixed - 0.5) * rng.uniform(0.5, 2.0) + rng.uniform(0.2, 0.8)


def _person(rng: np.random.Generator) -> np.ndarray:
    """A blurred somebody: skin, hair and clothes, whose colours a hand must not be told by."""
    picture = (_wall, _desk, _clouds)[rng.integers(3)](rng).astype(np.float32)
    tone, cloth = sample_tone(rng), rng.uniform(0.03, 0.9, 3)
    x, y = rng.uniform(0, BACKDROP, 2)
    size = rng.uniform(18, 60)
    lean = rng.normal(0, 15)
    parts = [
        ((x, y + 2.4 * size), (3.4 * size, 2.9 * size), cloth),  # shoulders
        ((x, y + 1.0 * size), (0.9 * size, 1.2 * size), tone * 0.85),  # neck
        (
            (x, y - 0.25 * size),
            (1.7 * size, 2.0 * size),
            rng.uniform(0.02, 0.4) * np.ones(3),
        ),  # hair
        ((x, y), (1.4 * size, 1.9 * size), tone),  # face
        ((x - 0.3 * size, y - 0.15 * size), (0.25 * size, 0.12 * size), tone * 0.3),
        ((x + 0.3 * size, y - 0.15 * size), (0.25 * size, 0.12 * size), tone * 0.3),
        ((x, y + 0.5 * size), (0.5 * size, 0.16 * size), tone * [0.8, 0.5, 0.5]),
    ]
    for at, axes, color in parts:
        cv2.ellipse(picture, (at, axes, lean), tuple(map(float, color)), -1, cv2.LINE_AA)
    if rng.random() < 0.4:  # a bare arm across
        ends = np.round(rng.uniform(0, BACKDROP, (2, 2))).astype(int)
        width = int(rng.integers(8, 26))
        cv2.line(picture, ends[0], ends[1], tuple(map(float, tone)), width, cv2.LINE_AA)
    light = 0.8 + 0.4 * noise(rng, _SIZE, 3, 2)[..., None]
    return cv2.GaussianBlur(picture * light, (0, 0), rng.uniform(0.4, 2.5))
