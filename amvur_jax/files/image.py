"""Reading an image file: whole and RGB, or an error that names it."""

import io
import re
from pathlib import Path

import cv2
import numpy as np
import PIL.Image

from amvur_jax.errors import UserError
from amvur_jax.files.places import place, store_errors

# OpenCV decodes what it can of a cut file and fills the rest with grey: look for the end mark.
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
# A marker among the entropy-coded bytes of a JPEG that is no restart and no stuffed zero.
_JPEG_MARKER = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]", re.DOTALL)
# Heads of frames (SOF) among them; they say how large the picture is.
_JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_MOST_PIXELS = 1 << 28  # 16,384 x 16,384, 0.8 GB
_HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")


def read_image(path: str | Path) -> np.ndarray:
    """Read a picture: PNG, JPEG, WebP, and AVIF where OpenCV or Pillow has it.

    Args:
      path: the file.

    Returns:
      (H, W, 3) uint8 RGB.

    Raises:
      UserError: the file is missing, truncated, no picture or a HEIC.
    """
    try:
        with store_errors(path):
            data = place(path).read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); copy the file again"
        ) from error
    return decode_image(data, path)


def read_mask(path: str | Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a mask: white (more than half) where it is True.

    Args:
      path: the file.
      shape: (H, W, ...) of the picture that it is of.

    Returns:
      (H, W) bool.

    Raises:
      UserError: the file is missing or no picture, or of another size.
    """
    mask = read_image(path)[..., 0] > 127
    if mask.shape != shape[:2]:
        raise UserError(
            f"{path}: has {mask.shape[1]} x {mask.shape[0]} pixels, its picture {shape[1]} x {shape[0]}; "
            "give the mask of this picture, pixel for pixel"
        )
    return mask


def decode_image(data: bytes, name: str | Path) -> np.ndarray:
    """Decode a picture, turned as its EXIF says; what stands behind its end, as in motion photos, is left.

    Args:
      data: the bytes of the file.
      name: what an error calls it.

    Returns:
      (H, W, 3) uint8 RGB.

    Raises:
      UserError: it is truncated, no picture, a HEIC or too large.
    """
    if (pixels := _claimed_pixels(data)) > _MOST_PIXELS:
        raise UserError(
            f"{name}: claims to have {pixels / 1e6:,.0f} million pixels, {_MOST_PIXELS / 1e6:.0f} are read "
            "at most; make it smaller, or copy the file again if it is not so large"
        )
    brand = data[8:12] if data[4:8] == b"ftyp" else b""
    if brand in _HEIC:
        raise UserError(
            f"{name}: is a HEIC picture, which is not read; convert it first, for example with "
            "`heif-convert IN.heic OUT.jpg`, or let the phone take JPEG"
        )
    image = _decoded(data) if _is_whole(data) else None
    if image is None and brand == b"avif":
        image = _decoded_by_pillow(data)
    if image is None:
        raise UserError(
            f"{name}: is truncated or is no PNG, JPEG, WebP or AVIF image ({len(data)} bytes); "
            "download or copy the file again"
        )
    return image


def _decoded(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None


def _decoded_by_pillow(data: bytes) -> np.ndarray | None:
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError):
        return None


def _is_whole(data: bytes) -> bool:
    """Whether a file reaches its end mark, where its kind has one that is known here."""
    if data.startswith(_PNG):
        return _png_ends(data) and _png_holds(data)
    if data.startswith(_JPEG):
        return data.endswith(_JPEG_END) or _jpeg_ends(data)
    if data.startswith(b"RIFF"):
        return len(data) >= 8 + int.from_bytes(data[4:8], "little")
    return bool(data)


def _png_holds(data: bytes) -> bool:
    """Whether the pixels that a PNG claims can be in it: deflate packs at most 1,032 bytes into one."""
    depth, kind = (int.from_bytes(data[k : k + 1], "big") for k in (24, 25))
    bits = _claimed_pixels(data) * depth * {2: 3, 4: 2, 6: 4}.get(kind, 1)
    return bits <= 8 * 1032 * len(data)


def _png_ends(data: bytes) -> bool:
    """Whether the chunks of a PNG lead to its last one."""
    place = len(_PNG)
    while place + 12 <= len(data):
        length, kind = int.from_bytes(data[place : place + 4], "big"), data[place + 4 : place + 8]
        place += 12 + length
        if kind == b"IEND":
            return place <= len(data)
    return False


def _claimed_pixels(data: bytes) -> int:
    """How many pixels the head of a PNG or JPEG says that there are, 0 of others: WebP has 2**28 at most."""
    if data.startswith(_PNG):
        return int.from_bytes(data[16:20], "big") * int.from_bytes(data[20:24], "big")
    place = len(_JPEG)
    while data.startswith(_JPEG) and (marker := _JPEG_MARKER.search(data, place)):
        code, place = data[marker.end() - 1], marker.end()
        if code in _JPEG_FRAMES:
            height, width = (data[place + k : place + k + 2] for k in (3, 5))
            return int.from_bytes(height, "big") * int.from_bytes(width, "big")
        if code != 0x01:
            place += int.from_bytes(data[place : place + 2], "big")
    return 0


def _jpeg_ends(data: bytes) -> bool:
    """Whether the segments of a JPEG lead to its end mark; a thumbnail's own lies within a segment."""
    place = len(_JPEG)
    while marker := _JPEG_MARKER.search(data, place):
        code, place = data[marker.end() - 1], marker.end()
        if code == _JPEG_END[1]:
            return True
        if code != 0x01:  # the one marker without a length that is left
            place += int.from_bytes(data[place : place + 2], "big")
    return False
