"""The numbers of hands: a JSON line each, and all of them as arrays. docs/outputs.md has every field."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from amvur_jax.errors import UserError
from amvur_jax.files.whole import explained, writing
from amvur_jax.hands.hand import Hand
from mano_jax.topology import FINGERS

_DIGITS = 6  # a micrometre, a microradian
_LEFT_OUT = ("colors",)  # they are in the meshes


def line(hand: Hand, picture: str, index: int, size: tuple[int, int]) -> bytes:
    """One line of hands.jsonl: hand number `index` of a picture of `size` (width, height) px."""
    values: dict[str, Any] = {"picture": picture, "index": index, "image_size": list(size)}
    for name, value in hand._asdict().items():
        if name not in _LEFT_OUT:
            values[name] = _rounded(value) if isinstance(value, float | np.ndarray) else value
    return orjson.dumps(values) + b"\n"


def _rounded(value: float | np.ndarray) -> Any:
    """Numbers of _DIGITS digits, without a minus before 0; NaN becomes null."""
    return (np.round(np.asarray(value, np.float64), _DIGITS) + 0.0).tolist()


def finger_sigma(joints_sigma_mm: np.ndarray) -> dict[str, float]:
    """Root mean square over the joints of each finger, mm, of sigmas (21,) mm."""
    squares = joints_sigma_mm[1:].reshape(len(FINGERS), 4) ** 2
    return dict(zip(FINGERS, np.sqrt(squares.mean(-1)).tolist()))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The entries of a file of JSON lines, an unfinished last one left out.

    Raises:
      UserError: the file cannot be read, or a line is no JSON object.
    """
    try:
        with open(path, "rb") as file:
            for text in file:
                if not text.endswith(b"\n"):
                    return
                entry = orjson.loads(text)
                if not isinstance(entry, dict):
                    raise ValueError("no JSON object")
                yield entry
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:
        raise UserError(f"{path}: is damaged ({error}); start anew with --overwrite") from error


def write_arrays(lines: Path, path: Path) -> int:
    """Write hands.npz: each field of hands.jsonl as one array over all hands; returns how many there are.

    Raises:
      UserError: the lines are damaged, or the file cannot be written.
    """
    columns: dict[str, list[Any]] = {}
    for entry in read_lines(lines):
        for name, value in entry.items():
            number = isinstance(value, list)
            columns.setdefault(name, []).append(np.asarray(value, float) if number else value)
    arrays: dict[str, Any] = {name: np.array(values) for name, values in columns.items()}
    with explained(path), writing(path) as file:
        np.savez_compressed(file, **arrays)
    return len(arrays.get("picture", ()))
