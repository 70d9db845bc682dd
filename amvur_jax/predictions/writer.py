"""pred.zip, the file that the HO-3D and FreiHAND challenges take: [xyz, verts] as JSON."""

import contextlib
import shutil
import tempfile
import zipfile
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np

from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.readers.ground_truth import JOINTS, VERTICES
from amvur_jax.errors import UserError
from amvur_jax.files.whole import writing
from amvur_jax.predictions.reader import MEMBER

DECIMALS = 6  # a micrometre: half of it is the most that rounding moves a coordinate
# A fixed date, so that the same predictions make the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


class PredictionWriter:
    """Writes pred.zip sample by sample, in bounded memory; it appears whole or not at all.

    A context manager: leaving it by an exception writes nothing.

    Args:
      path: the zip file to make.
      count: the number of samples that the challenge expects.
      layout: a key of amvur_jax.data.layouts.LAYOUTS, whose official program says axes, joint order
        and whether the hand is moved onto the given wrist.

    Raises:
      UserError: the folder cannot be written to.
    """

    def __init__(self, path: str | Path, count: int, layout: str = "ho3d_v2") -> None:
        if layout not in LAYOUTS:
            raise ValueError(f"layout={layout!r}: expected one of {', '.join(LAYOUTS)}")
        self.path = Path(path)
        self._layout = layout
        self._expected, self._written = count, 0
        self._files = contextlib.ExitStack()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The joints come first in the file: both lists wait on disk, not in memory.
            folder = self.path.parent
            self._lists = [
                self._files.enter_context(tempfile.TemporaryFile(dir=folder))  # noqa: SIM115
                for _ in range(2)
            ]
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); choose another folder"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._files.close()

    def add(
        self,
        joints_cam: np.ndarray,
        vertices_cam: np.ndarray,
        wrist_cam: np.ndarray | None = None,
    ) -> None:
        """Append one sample; samples come in the order of the dataset's list.

        Args:
          joints_cam: (21, 3) predicted joints, metres, OpenCV axes, the model's order.
          vertices_cam: (778, 3) predicted vertices in the same frame.
          wrist_cam: (3,) ground-truth wrist, OpenCV axes, onto which the hand is moved; HO-3D
            needs it, FreiHAND has none.

        Raises:
          UserError: a number is NaN or infinite.
          ValueError: a shape is wrong, or the wrist is missing or not wanted.
        """
        joints, vertices = (np.asarray(x, np.float64) for x in (joints_cam, vertices_cam))
        if joints.shape != JOINTS or vertices.shape != VERTICES:
            raise ValueError(f"sample {self._written}: shapes {joints.shape}, {vertices.shape}")
        if LAYOUTS[self._layout].official.on_wrist != (wrist_cam is not None):
            raise ValueError(
                f"wrist_cam: needed where the program wants it, not so {self._layout}'s"
            )
        for points in (joints, vertices, 0 if wrist_cam is None else wrist_cam):
            if not np.isfinite(points).all():
                raise UserError(
                    f"{self.path}: sample {self._written} holds NaN or infinity; the checkpoint is "
                    "damaged or its training diverged: use another one"
                )
        joints, vertices = official(joints, vertices, self._layout, wrist_cam)
        for file, points in zip(self._lists, (joints, vertices)):
            file.write(b", " if self._written else b"[")
            file.write(_text(points))
        self._written += 1

    def close(self) -> None:
        """Put the file in its place.

        Raises:
          UserError: there are fewer or more samples than expected; nothing is written.
        """
        try:
            if self._written != self._expected:
                raise UserError(
                    f"{self.path}: not written: {self._written} predictions but the dataset has "
                    f"{self._expected} frames; predict the whole evaluation split"
                )
            with writing(self.path) as file:
                self._write_zip(file)
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); free some space or "
                "choose another folder"
            ) from error
        finally:
            self._files.close()

    def _write_zip(self, file: IO[bytes]) -> None:
        info = zipfile.ZipInfo(MEMBER, _DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(file, "w") as zip_, zip_.open(info, "w", force_zip64=True) as member:
            for start, part in zip((b"[", b", "), self._lists):
                member.write(start if self._written else start + b"[")
                part.seek(0)
                shutil.copyfileobj(part, member, 1 << 20)
                member.write(b"]")
            member.write(b"]")


def official(
    joints_cam: np.ndarray,
    vertices_cam: np.ndarray,
    layout: str,
    wrist_cam: np.ndarray | None = None,
    rounded: bool = True,
) -> tuple[np.ndarray, np.ndarray]:
    """Points as pred.zip holds them: axes, joint order, place and rounding of the data set's challenge.

    Args:
      joints_cam: (..., 21, 3) metres, OpenCV axes, the model's order.
      vertices_cam: (..., V, 3) in the same frame.
      layout: a key of LAYOUTS.
      wrist_cam: (..., 3) onto which the hands are moved, or None to leave them.
      rounded: to whole micrometres, as predictions are written.

    Returns:
      joints and vertices, float64.
    """
    joints, vertices = (np.asarray(x, np.float64) for x in (joints_cam, vertices_cam))
    if wrist_cam is not None:
        move = np.asarray(wrist_cam, np.float64)[..., None, :] - joints[..., :1, :]
        joints, vertices = joints + move, vertices + move
    program = LAYOUTS[layout].official
    joints, vertices = joints[..., program.joint_order, :] * program.axes, vertices * program.axes
    if rounded:
        joints, vertices = joints.round(DECIMALS), vertices.round(DECIMALS)
    return joints, vertices


def _text(points: np.ndarray) -> bytes:
    # Six decimals are a micrometre; one format call a sample is what makes this fast.
    rows = ", ".join(["[%.6f, %.6f, %.6f]"] * len(points))
    return f"[{rows}]".encode() % tuple(points.ravel())
