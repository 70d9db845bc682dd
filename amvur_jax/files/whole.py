"""Files that are there whole or not at all."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from amvur_jax.errors import UserError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes the place of `path` when the block ends without an exception.

    Args:
      path: pathlib.Path; what is there already stays until then.

    Yields:
      the open file, beside `path`.

    Raises:
      OSError: it cannot be written; nothing is left of it.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with open(partial, "wb") as file:
            yield file
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(path: Path, data: bytes) -> None:
    """Write bytes to a file in one step."""
    with writing(path) as file:
        file.write(data)


def write_json(path: Path, values: object) -> None:
    """Write values as JSON in one step.

    Raises:
      UserError: it cannot be written.
    """
    try:
        write_whole(path, (json.dumps(values, indent=2) + "\n").encode())
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); choose another folder"
        ) from None


def write_picture(path: Path, pixels: np.ndarray, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) grey in one step, as PNG or JPEG by the file's name.

    Raises:
      OSError: it cannot be encoded or written.
    """
    pixels = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix == ".jpg" else []
    done, data = cv2.imencode(path.suffix, pixels, options)
    if not done:
        raise OSError(f"OpenCV could not encode {path.name}")
    write_whole(path, data.tobytes())
