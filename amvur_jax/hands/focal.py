"""The focal length of a photograph: from who knows it, its EXIF, or assumed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image

from amvur_jax.errors import UserError

# Taken where nothing is known: the main cameras of phones have 24 to 28 mm.
ASSUMED_MM = 28.0
_DIAGONAL_MM = math.hypot(36, 24)  # of 35 mm film, by whose diagonal equivalents go (CIPA DCG-001)
_EXIF_IFD, _FOCAL_35MM = 0x8769, 0xA405


class Focal(NamedTuple):
    """A focal length, px or mm on 35 mm film."""

    value: float
    unit: str  # "px" or "mm"

    def px(self, size: tuple[int, int]) -> float:
        """In px of a picture of `size` (width, height)."""
        return self.value * (math.hypot(*size) / _DIAGONAL_MM if self.unit == "mm" else 1.0)


ASSUMED = Focal(ASSUMED_MM, "mm")


def parse_focal(text: str | float) -> Focal:
    """A Focal of 1500, '1500', '1500px' or '26mm' (on 35 mm film).

    Raises:
      UserError: it is none of these, or not a finite number above 0.
    """
    number = str(text).strip().lower()
    unit = "mm" if number.endswith("mm") else "px"
    try:
        value = float(number.removesuffix(unit))
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise UserError(
            f"focal={text}: expected pixels of the picture, such as 1500, or millimetres on 35 mm "
            "film, such as 26mm, above 0"
        )
    return Focal(value, unit)


def exif_focal(path: str | Path) -> Focal | None:
    """FocalLengthIn35mmFilm of a picture's EXIF, or None where there is none that says anything."""
    try:
        with PIL.Image.open(path) as image:
            value = float(image.getexif().get_ifd(_EXIF_IFD).get(_FOCAL_35MM, 0))
    except (OSError, ValueError, TypeError, SyntaxError, KeyError, ZeroDivisionError):
        return None
    except PIL.Image.DecompressionBombError:  # of a size that Pillow would not decode
        return None
    return Focal(value, "mm") if 0 < value < math.inf else None


def intrinsics(focal: Focal, size: tuple[int, int]) -> np.ndarray:
    """K (3,3) px of a picture of `size` (width, height), its principal point in the middle."""
    f = focal.px(size)
    return np.array([[f, 0.0, size[0] / 2], [0.0, f, size[1] / 2], [0.0, 0.0, 1.0]])
