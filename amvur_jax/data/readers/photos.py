"""Photographs with 2D joints alone: a folder of pictures and hands.json, which says where their hands are.

    [{"file": "0/IMG_1118.jpg", "hand": "right", "box": [x1, y1, x2, y2], "joints": [[x, y], ... 21]}, ...]

Pixels of the picture, the centre of its first pixel at (0.5, 0.5); joints in the model's order; `hand` as in
life; `box` may be left out: it is then that of the joints. Further fields are not read.
"""

from __future__ import annotations

import functools
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import orjson

from amvur_jax.data.frame import Frame
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from mano_jax import HandModel

HANDS = "hands.json"
# Of a photo that does not say so: a focal length of so many longer sides, a phone's.
FOCAL = 0.8


class Photos:
    """The photographs of a folder; they are for training.

    Args:
      root: the folder.
      split: "train".
      hand: not used: there are no labels of a hand model.

    Raises:
      UserError: hands.json is missing or malformed.
    """

    layout, reach, left_out, endless = "ho3d_v2", None, 0, False
    ground_truth = None

    def __init__(
        self, root: str | Path, split: str = "train", hand: HandModel | None = None
    ) -> None:
        self.root, self.split = Path(root), split
        path = self.root / HANDS
        if split != "train":
            raise UserError(f"{root}: photographs have no evaluation split; see config.eval.root")
        try:
            entries = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        except orjson.JSONDecodeError as error:
            raise UserError(f"{path}: is no JSON: {error}") from error
        if not isinstance(entries, list) or not entries:
            raise UserError(f"{path}: expected a list with an entry for each hand")
        self._hands = [_checked(path, i, entry) for i, entry in enumerate(entries)]
        self.names = [hand["file"] for hand in self._hands]

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, i: int) -> Frame:
        """Read the photograph of a hand.

        Raises:
          UserError: it is missing or damaged.
        """
        hand = self._hands[i]
        image = read_image(self.root / hand["file"])
        height, width = image.shape[:2]
        focal = FOCAL * max(height, width)
        return Frame(
            name=hand["file"],
            index=i,
            image=image,
            K=np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]]),
            box=hand["box"],
            joints_px=hand["joints"],
            side=hand["hand"],
        )


def _checked(path: Path, i: int, entry: Any) -> dict[str, Any]:
    wrong = functools.partial(_wrong, path, i)
    if not isinstance(entry, dict):
        raise wrong("is no object with file, hand, joints")
    file, side = entry.get("file"), entry.get("hand")
    if not isinstance(file, str) or not file:
        raise wrong("file: expected the picture's path")
    parts = PurePosixPath(file)
    if parts.is_absolute() or ".." in parts.parts or "\\" in file or ":" in file:
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
    except (TypeError, ValueError):
        return None
    return array if array.shape == shape and np.isfinite(array).all() else None


def _wrong(path: Path, i: int, what: str) -> UserError:
    return UserError(f"{path}: entry {i}: {what}")
