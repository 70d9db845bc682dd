"""hands.csv, 2D labels that a person can correct: a line for each hand of a folder of pictures.

The columns, separated by commas: `row`, 1, 2, ...; `file`, the picture in the folder; `hand`, the same
number for the same hand of a sequence; `sequence`, and `frame`, its place in it; `width` and `height` of the
picture, px; `split`, train or evaluation; `side`, right or left as in life; `keep`, 1 or 0: 0 leaves the hand
out; `reason`, why it was left out; `score`, 0 to 1, that it is a hand. Then x, y and confidence of each of
the 21 joints in the model's order (mano_jax.topology.JOINT_NAMES): px of the picture, the centre of its first
pixel at (0.5, 0.5), and 0 to 1, how much the joint counts. One that counts lies in the picture.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from amvur_jax.errors import UserError
from amvur_jax.files.whole import explained, write_whole
from mano_jax.topology import JOINT_NAMES

HANDS = "hands.csv"
SPLITS = ("train", "evaluation")
COLUMNS = (
    *("row", "file", "hand", "sequence", "frame", "width", "height"),
    *("split", "side", "keep", "reason", "score"),
    *(f"{j}_{part}" for j in JOINT_NAMES for part in ("x", "y", "confidence")),
)


class LabelledHand(NamedTuple):
    """A line of the file. size: width and height, px; split: "" where none is chosen yet; joints: (21, 2) px;
    confidence: (21,)."""

    file: str
    hand: int
    sequence: str
    frame: int
    size: tuple[int, int]
    split: str
    side: str
    keep: bool
    reason: str
    score: float
    joints: np.ndarray
    confidence: np.ndarray


def stays_inside(file: str) -> bool:
    """Whether a picture's name leads nowhere but into its folder."""
    parts = PurePosixPath(file)
    return not (parts.is_absolute() or ".." in parts.parts or "\\" in file or ":" in file)


def write_hands(path: Path, hands: Iterable[LabelledHand]) -> None:
    """Write the lines in one step, numbered from 1.

    Raises:
      UserError: the file cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row, hand in enumerate(hands, 1):
        place = (row, hand.file, hand.hand, hand.sequence, hand.frame, *hand.size)
        verdict = (hand.split, hand.side, int(hand.keep), hand.reason, f"{hand.score:.3f}")
        joints = np.column_stack([hand.joints.round(2), hand.confidence.round(3)])
        table.writerow([*place, *verdict, *(f"{value:g}" for value in joints.ravel())])
    with explained(path):
        write_whole(path, text.getvalue().encode())


def read_hands(path: Path, least: int = 0) -> list[LabelledHand]:
    """Read and check the lines.

    Args:
      path: of the file.
      least: how many there were when it was written.

    Raises:
      UserError: it cannot be read, or a line is wrong or missing; file and line are named.
    """
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); save it as CSV in UTF-8") from error
    table = csv.reader(io.StringIO(text, newline=""))
    found: dict[int, tuple[int, LabelledHand]] = {}
    try:
        if tuple(next(table, ())) != COLUMNS:
            raise ValueError(f"expected the {len(COLUMNS)} columns {', '.join(COLUMNS[:3])}, ...")
        for fields in table:
            if not any(fields):
                continue
            if len(fields) != len(COLUMNS):
                raise ValueError(f"has {len(fields)} fields, expected {len(COLUMNS)}")
            values = dict(zip(COLUMNS, fields))
            row = _number(values, "row", 1)
            if row in found:
                raise ValueError(f"row: {row} is in line {found[row][0]} too; number a new hand on")
            found[row] = table.line_num, _parsed(values)
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: line {max(table.line_num, 1)}: {error}") from None
    for row in range(1, max([least, *found]) + 1):
        if row not in found:
            before = found[row - 1][0] if row > 1 else 1
            raise UserError(
                f"{path}: line {before + 1}: row {row} is missing; put it back, with keep 0 to leave the "
                "hand out"
            )
    return [found[row][1] for row in sorted(found)]


def _parsed(values: Mapping[str, str]) -> LabelledHand:
    """A line's hand; ValueError where a field is wrong."""
    if not values["file"] or not stays_inside(values["file"]):
        raise ValueError(f"file: {values['file']!r} leaves the folder")
    for field, known in (
        ("split", ("", *SPLITS)),
        ("side", ("right", "left")),
        ("keep", ("0", "1")),
    ):
        if values[field].strip() not in known:
            words = " or ".join(word for word in known if word)
            raise ValueError(f"{field}: expected {words}, not {values[field]!r}")
    width, height = (_number(values, name, 1) for name in ("width", "height"))
    joints, confidence = np.zeros((21, 2)), np.zeros(21)
    for i, joint in enumerate(JOINT_NAMES):
        x, y, confidence[i] = (
            _float(values, f"{joint}_{part}") for part in ("x", "y", "confidence")
        )
        if not 0 <= confidence[i] <= 1:
            raise ValueError(f"{joint}_confidence: {confidence[i]:g} is not from 0 to 1")
        if confidence[i] and not (0 <= x <= width and 0 <= y <= height):
            raise ValueError(
                f"{joint}: ({x:g}, {y:g}) is off the picture of {width} x {height}; move it, or give it the "
                "confidence 0"
            )
        joints[i] = x, y
    keep = values["keep"].strip() == "1"
    if keep and np.count_nonzero(confidence) < 2:
        raise ValueError("keep: fewer than two joints have a confidence; give them one, or keep 0")
    return LabelledHand(
        file=values["file"],
        hand=_number(values, "hand", 0),
        sequence=values["sequence"],
        frame=_number(values, "frame", 0),
        size=(width, height),
        split=values["split"].strip(),
        side=values["side"].strip(),
        keep=keep,
        reason=values["reason"],
        score=_float(values, "score"),
        joints=joints,
        confidence=confidence,
    )


def _number(values: Mapping[str, str], field: str, least: int) -> int:
    text = values[field].strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) >= least):
        raise ValueError(f"{field}: expected a whole number from {least} on, not {values[field]!r}")
    return int(text)


def _float(values: Mapping[str, str], field: str) -> float:
    try:
        value = float(values[field])
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise ValueError(f"{field}: expected a number, not {values[field]!r}")
    return value
