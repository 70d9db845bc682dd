"""The numbers of hands: a JSON line each, and all of them as arrays. docs/outputs.md has every field."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from amvur_jax.errors import UserError
from amvur_jax.files.whole import explained, writing
from amvur_jax.hands.hand import Hand
from mano_jax.topology import FINGERS

_DIGITS = 6  # a micrometre, a microradian
_LEFT_OUT = ("colors",)  # they are in the meshes


def line(
    hand: Hand,
    picture: str,
    index: int,
    size: tuple[int, int],
    frame: int = 0,
    time_s: float = 0.0,
    track: int | None = None,
) -> bytes:
    """One line of hands.jsonl: hand number `index` of a picture of `size` (width, height) px.

    frame, time_s and track are of a video; a photograph is its own only frame, each hand a track.
    """
    values: dict[str, Any] = {"picture": picture, "index": index, "image_size": list(size)}
    track = index if track is None else track
    values |= {"frame": frame, "time_s": round(float(time_s), _DIGITS), "track": track}
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

    Memory does not grow with the hands: numbers wait in temporary files, words alone in memory.

    Raises:
      UserError: the lines are damaged, or the file cannot be written.
    """
    count, columns = 0, dict[str, _Column]()
    with explained(path), contextlib.ExitStack() as stack:
        for entry in read_lines(lines):
            for name, value in entry.items():
                if name not in columns:
                    waiting = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
                    columns[name] = _Column(waiting, _array(value))
                columns[name].append(_array(value))
            count += 1
            if any(column.count != count for column in columns.values()):
                raise UserError(
                    f"{lines}: hand {count} has other fields than those before; start anew with --overwrite"
                )
        with (
            writing(path) as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        ):
            for name, column in columns.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as array:
                    column.write(array)
    return count


def _array(value: Any) -> np.ndarray:
    return np.asarray(value, float if isinstance(value, list) else None)


class _Column:
    """A field of all hands; its numbers wait in an open file."""

    def __init__(self, file: IO[bytes], first: np.ndarray) -> None:
        self._file, self.count = file, 0
        self._kind, self._shape = first.dtype, first.shape
        self._words: list[np.ndarray] | None = [] if first.dtype.kind == "U" else None

    def append(self, value: np.ndarray) -> None:
        """The field of the next hand; one of another kind or shape is not counted."""
        if self._words is not None and value.dtype.kind == "U":
            self._words.append(value)
        elif (value.dtype, value.shape) == (self._kind, self._shape):
            self._file.write(value.tobytes())
        else:
            return
        self.count += 1

    def write(self, out: IO[bytes]) -> None:
        """All of them as .npy."""
        if self._words is not None:
            np.lib.format.write_array(out, np.array(self._words), allow_pickle=False)
            return
        described = np.lib.format.dtype_to_descr(self._kind)
        shape = (self.count, *self._shape)
        header = {"descr": described, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(out, header)
        self._file.seek(0)
        shutil.copyfileobj(self._file, out)
