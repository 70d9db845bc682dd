"""Files that are there whole or not at all."""

import contextlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np

from amvur_jax.errors import UserError
from amvur_jax.files.places import is_url, place, store_errors


@contextlib.contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes the place of `path` when the block ends without an exception.

    Args:
      path: pathlib.Path, or a URL's of amvur_jax.files.places; what is there already stays until then.

    Yields:
      the open file, beside `path`.

    Raises:
      OSError: it cannot be written; nothing is left of it.
    """
    if is_url(path):
        # A store shows an object when it is whole: it is sent at the end, in one piece.
        whole = io.BytesIO()
        yield whole
        with store_errors(path):
            path.write_bytes(whole.getvalue())
        return
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


def append_whole(path: Path, data: bytes) -> None:
    """Append bytes to a file: all of them or, where that fails, none. Behind a URL it is written anew.

    Raises:
      OSError: they cannot be written.
    """
    if is_url(path):
        with store_errors(path):
            before = path.read_bytes() if path.exists() else b""
        write_whole(path, before + data)
        return
    with open(path, "ab", buffering=0) as file:
        end = file.seek(0, os.SEEK_END)
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) :]
        except BaseException:
            file.truncate(end)
            raise


@contextlib.contextmanager
def explained(path: str | Path) -> Iterator[None]:
    """Turn an OSError into a UserError that says that the file or folder could not be written."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: cannot be written ({reason}); choose another place") from error


def write_json(path: Path, values: object) -> None:
    """Write values as JSON in one step.

    Raises:
      UserError: it cannot be written.
    """
    with explained(path):
        write_whole(path, (json.dumps(values, indent=2) + "\n").encode())


def encode_picture(pixels: np.ndarray, suffix: str, quality: int = 95) -> bytes:
    """(H, W, 3) uint8 RGB or (H, W) grey as the bytes of a file: ".png", ".jpg" or ".webp".

    Raises:
      OSError: it cannot be encoded.
    """
    pixels = np.ascontiguousarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix in (".jpg", ".jpeg") else []
    try:
        done, data = cv2.imencode(suffix, pixels, options)
    except cv2.error:
        done = False
    if not done:
        raise OSError(
            f"{suffix or 'no ending'!r} is no kind of picture that OpenCV writes, .png is"
        )
    return data.tobytes()


def write_picture(path: Path, pixels: np.ndarray, quality: int = 95) -> None:
    """Write (H, W, 3) uint8 RGB or (H, W) grey in one step, as the file's name says: PNG, JPEG or WebP.

    Raises:
      OSError: it cannot be encoded or written.
    """
    write_whole(path, encode_picture(pixels, path.suffix.lower(), quality))


def save_picture(path: str | Path, pixels: np.ndarray, quality: int = 88) -> None:
    """`write_picture` for what a user asked for: the folder is made where it is missing.

    Raises:
      UserError: it cannot be encoded or written.
    """
    path = place(path)
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, pixels, quality)
