"""Photographs with 2D joints alone: a folder of pictures, and hands.csv or hands.json with their hands.

hands.csv (hands_csv.py) is what scripts/label.py writes; hands.json is shorter, and for training alone:

    [{"file": "0/IMG_1118.jpg", "hand": "right", "box": [x1, y1, x2, y2], "joints": [[x, y], ... 21]}, ...]

Pixels of the picture, the centre of its first pixel at (0.5, 0.5); joints in the model's order; `hand` as in
life; `box` may be left out: it is then that of the joints. Further fields are not read.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from amvur_jax.data.frame import Frame
from amvur_jax.data.readers.hands_csv import HANDS, SPLITS, LabelledHand, read_hands, stays_inside
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.places import place
from mano_jax import HandModel
from mano_jax.errors import MALFORMED

HANDS_JSON = "hands.json"
STATE = "label.json"  # what scripts/label.py has done
# Of a photo that does not say so: a focal length of so many longer sides, a phone's.
FOCAL = 0.8


class Photos:
    """The hands of a folder's photographs, those of hands.csv that are kept.

    Args:
      root: the folder.
      split: "train", or "evaluation" where hands.csv has it.
      hand: not used: there are no labels of a hand model.

    Attributes:
      hands: LabelledHand each, in the order of `names`; None of a hands.json.

    Raises:
      UserError: the labels are missing or malformed, or there are none of the split.
    """

    layout, reach, left_out, endless = "ho3d_v2", None, 0, False
    ground_truth = None

    def __init__(
        self, root: str | Path, split: str = "train", hand: HandModel | None = None
    ) -> None:
        self.root, self.split = place(root), split
        self.hands: list[LabelledHand] | None = None
        if (self.root / HANDS).is_file():
            self.hands = _kept(self.root, split)
            self._entries = [_entry(hand) for hand in self.hands]
        else:
            self._entries = _listed(self.root, split)
        self.names = [entry["file"] for entry in self._entries]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def joints_2d(self) -> tuple[np.ndarray, np.ndarray]:
        """The labels of all hands: (N, 21, 2) px of the pictures, and confidence (N, 21)."""
        entries = self._entries
        confidence = [entry.get("confidence", np.ones(21)) for entry in entries]
        return np.stack([entry["joints"] for entry in entries]), np.stack(confidence)

    @functools.cached_property
    def moments(self) -> list[tuple[str, int]] | None:
        """The hands of videos: pictures that are named by their frame, as scripts/label.py does."""
        if self.hands is None:
            return None
        moments = []
        for hand in self.hands:
            filmed = Path(hand.file).stem == f"{hand.frame:06d}"
            name = f"{hand.sequence}/{hand.hand}/{hand.side}" if filmed else ""
            moments.append((name, hand.frame))
        return moments

    def frame(self, i: int) -> Frame:
        """Read the photograph of a hand.

        Raises:
          UserError: it is missing, damaged, or of another size than hands.csv says.
        """
        entry = self._entries[i]
        path = self.root / entry["file"]
        image = read_image(path)
        height, width = image.shape[:2]
        if entry.get("size", (width, height)) != (width, height):
            raise UserError(
                f"{path}: has {width} x {height} pixels, its line in {HANDS} says {entry['size']}; put the "
                "picture back"
            )
        focal = FOCAL * max(height, width)
        return Frame(
            name=entry["file"],
            index=i,
            image=image,
            K=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]),
            box=entry["box"],
            joints_px=entry["joints"],
            confidence=entry.get("confidence"),
            side=entry["hand"],
        )


def splits_in(root: Path) -> list[str]:
    """The splits of a folder of photographs: those of its kept hands.

    Raises:
      UserError: hands.csv is malformed.
    """
    if not (root / HANDS).is_file():
        return ["train"]
    there = {hand.split for hand in _read(root) if hand.keep}
    return [split for split in SPLITS if split in there]


def _read(root: Path) -> list[LabelledHand]:
    state = root / STATE
    try:
        rows = int(json.loads(state.read_bytes())["rows"]) if state.exists() else 0
    except (OSError, *MALFORMED) as error:
        raise UserError(
            f"{state}: is not what scripts/label.py wrote ({error}); delete it"
        ) from None
    return read_hands(root / HANDS, rows)


def _kept(root: Path, split: str) -> list[LabelledHand]:
    hands = [hand for hand in _read(root) if hand.keep]
    if any(not hand.split for hand in hands):
        raise UserError(
            f"{root / HANDS}: has hands without a split: labelling was interrupted; run it again"
        )
    found = [hand for hand in hands if hand.split == split]
    if not found:
        raise UserError(
            f"{root / HANDS}: no hand of the split {split} is kept; say so in its columns split and keep"
        )
    return found


def _entry(hand: LabelledHand) -> dict[str, Any]:
    counted = hand.joints[hand.confidence > 0]
    return {
        "file": hand.file,
        "hand": hand.side,
        "size": hand.size,
        "joints": hand.joints,
        "box": np.concatenate([counted.min(0), counted.max(0)]),
        "confidence": hand.confidence,
    }


def _listed(root: Path, split: str) -> list[dict[str, Any]]:
    """The entries of hands.json."""
    path = root / HANDS_JSON
    if split != "train":
        raise UserError(
            f"{root}: photographs of a {HANDS_JSON} have no evaluation split; see config.eval.root"
        )
    try:
        entries = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except orjson.JSONDecodeError as error:
        raise UserError(f"{path}: is no JSON: {error}") from error
    if not isinstance(entries, list) or not entries:
        raise UserError(f"{path}: expected a list with an entry for each hand")
    return [_checked(path, i, entry) for i, entry in enumerate(entries)]


def _checked(path: Path, i: int, entry: Any) -> dict[str, Any]:
    wrong = functools.partial(_wrong, path, i)
    if not isinstance(entry, dict):
        raise wrong("is no object with file, hand, joints")
    file, side = entry.get("file"), entry.get("hand")
    if not isinstance(file, str) or not file:
        raise wrong("file: expected the picture's path")
    if not stays_inside(file):
        raise wrong(f"file: {file!r} leaves the folder")
    if side not in ("right", "left"):
        raise wrong(f"hand: {side!r} is neither 'right' nor 'left'")
    joints = _numbers(entry.get("joints"), (21, 2))
    if joints is None:
        raise wrong("joints: expected 21 x [x, y], finite numbers in pixels")
    box = np.concatenate([joints.min(0), joints.max(0)])
    if "box" in entry:
        given = _numbers(entry["box"], (4,))
        if given is None or (given[:2] >= given[2:]).any():
            raise wrong("box: expected [x1, y1, x2, y2], x1 < x2 and y1 < y2, in pixels")
        box = given
    return {"file": file, "hand": side, "joints": joints, "box": box}


def _numbers(value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        array = np.array(value, np.float64)
    except MALFORMED:
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None


def _wrong(path: Path, i: int, what: str) -> UserError:
    return UserError(f"{path}: entry {i}: {what}")
