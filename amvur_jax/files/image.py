"""Reading an image file: whole and RGB, or an error that names it."""

from pathlib import Path

import cv2
import numpy as np

from amvur_jax.errors import UserError

# OpenCV decodes what it can of a cut file and fills the rest with grey: look for the end mark.
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_TRAILING_BYTES = 64


def read_image(path: str | Path) -> np.ndarray:
    """Read a PNG or JPEG file.

    Args:
      path: the file.

    Returns:
      (H, W, 3) uint8 RGB.

    Raises:
      UserError: the file is missing, truncated or no image.
    """
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); copy the file again"
        ) from error
    return decode_image(data, path)


def decode_image(data: bytes, name: str | Path) -> np.ndarray:
    """Decode a PNG or JPEG.

    Args:
      data: the bytes of the file.
      name: what an error calls it.

    Returns:
      (H, W, 3) uint8 RGB.

    Raises:
      UserError: it is truncated or no image.
    """
    end = _PNG_END if data.startswith(b"\x89PNG") else _JPEG_END
    try:
        whole = data.rfind(end, max(0, len(data) - _TRAILING_BYTES)) >= 0
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB) if whole else None
    except cv2.error:
        image = None
    if image is None:
        raise UserError(
            f"{name}: is truncated or is no PNG or JPEG image ({len(data)} bytes); "
            "download or copy the file again"
        )
    return image
