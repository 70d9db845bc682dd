"""Which pictures and videos a user means, and the boxes that they know."""

from __future__ import annotations

import csv
import glob
import io
import json
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np

from amvur_jax.detect.detector import Side
from amvur_jax.errors import UserError
from amvur_jax.files import video
from amvur_jax.hands.reconstruct import Box
from mano_jax.errors import MALFORMED

# HEIC is not read, but named.
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".heic", ".heif")
OVERLAY, VIDEO_OVERLAY = "_overlay.jpg", "_overlay.mp4"
_SIDES: dict[str, Side | None] = {"right": "right", "left": "left", "": None}


class Pictures(NamedTuple):
    """Paths, and whether they are several by what was asked: a folder, a glob, a list."""

    paths: list[Path]
    several: bool


def find_pictures(text: str, listed: Iterable[str] = ()) -> Pictures:
    """The pictures and videos of an --input: a path, several with commas, a folder, a glob, or '-' for those
    `listed`.

    Args:
      text: the flag.
      listed: lines, a path each, such as those of standard input.
    Raises:
      UserError: a folder, glob or list without a picture.
    """
    words = [text] if Path(text).exists() else [word for word in text.split(",") if word]
    paths: dict[Path, None] = {}
    several = len(words) != 1
    for word in words:
        found, many = _found(word, listed)
        several |= many
        paths |= dict.fromkeys(found)
    if not paths:
        raise UserError(f"--input={text}: there is no picture and no video")
    return Pictures(list(paths), several)


def _found(word: str, listed: Iterable[str]) -> tuple[list[Path], bool]:
    path = Path(word)
    if word == "-":
        return [Path(text.strip()) for text in listed if text.strip()], True
    if path.is_dir():
        found = path.iterdir()
    elif not path.exists() and glob.has_magic(word):
        found = (Path(name) for name in glob.iglob(word, recursive=True))
    else:
        return [path], False
    pictures = sorted(p for p in found if _is_picture(p))
    if not pictures:
        known = ", ".join((*SUFFIXES, *video.SUFFIXES))
        raise UserError(f"--input={word}: there is no picture and no video ({known})")
    return pictures, True


def _is_picture(path: Path) -> bool:
    """By its name; overlays that were written beside their pictures are none."""
    known = path.suffix.lower() in SUFFIXES or video.is_video(path)
    return known and not path.name.endswith((OVERLAY, VIDEO_OVERLAY)) and path.is_file()


def parse_box(text: str) -> np.ndarray:
    """Four numbers x1,y1,x2,y2 with x1 < x2 and y1 < y2, px of the picture.

    Raises:
      UserError: they are not.
    """
    try:
        return _checked_box(text.split(","))
    except MALFORMED as error:
        raise UserError(
            f"--box={text}: expected x1,y1,x2,y2 in pixels of the picture, x1 < x2 and y1 < y2"
        ) from error


def _checked_box(values: Any) -> np.ndarray:
    box = np.array([float(x) for x in values])
    if box.shape != (4,) or not np.isfinite(box).all() or (box[:2] >= box[2:]).any():
        raise ValueError("expected x1, y1, x2, y2 with x1 < x2 and y1 < y2")
    return box


def read_boxes(path: str | Path) -> list[tuple[str, Box]]:
    """The boxes of a file: pictures' names, each with a Box, as often as there are hands.

    CSV with a line of names above, or a JSON list of objects: picture, x1, y1, x2, y2 (px) and, where it is
    known, side ("right" or "left"). JSON may have `box`, a list, in the place of the four.

    Raises:
      UserError: it cannot be read, or an entry of it is none; names the entry.
    """
    path = Path(path)
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if path.suffix.lower() == ".json":
        try:
            entries = json.loads(text)
        except MALFORMED as error:
            raise UserError(f"{path}: is no JSON ({error})") from error
    else:
        entries = list(csv.DictReader(io.StringIO(text), skipinitialspace=True))
    if not isinstance(entries, list):
        raise UserError(f"{path}: expected a list of objects with picture, x1, y1, x2, y2, side")
    boxes = []
    for number, entry in enumerate(entries, 1):
        try:
            values = entry.get("box") or [entry[name] for name in ("x1", "y1", "x2", "y2")]
            side = _SIDES[(entry.get("side") or "").strip().lower()]
            boxes.append((str(entry["picture"]), Box(_checked_box(values), side)))
        except MALFORMED as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(
                f"{path}: entry {number}: {reason}; expected picture, x1, y1, x2, y2 in px with x1 < x2 and "
                "y1 < y2, and side right, left or nothing"
            ) from error
    return boxes


def boxes_of(boxes: Iterable[tuple[str, Box]], paths: Iterable[Path]) -> dict[Path, list[Box]]:
    """The boxes of each picture: those whose name is the end of its path.

    Raises:
      UserError: a box is of none of the pictures.
    """
    found: dict[Path, list[Box]] = {path: [] for path in paths}
    for name, box in boxes:
        parts = PurePath(name).parts
        mine = [path for path in found if path.absolute().parts[-len(parts) :] == parts]
        if not mine:
            raise UserError(f"--boxes: {name} is none of the pictures of --input")
        for path in mine:
            found[path].append(box)
    return found
