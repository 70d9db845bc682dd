"""pred.zip, the file that the HO-3D and FreiHAND challenges take: [xyz, verts] as JSON."""

import contextlib
import functools
import os
import shutil
import tempfile
import zipfile
import zlib
from pathlib import Path

import numpy as np

from amvur_jax.data.ho3d import GL_TO_CV
from amvur_jax.errors import UserError
from amvur_jax.json_arrays import JsonArrays
from mano_jax.topology import MODEL_TO_HO3D

MEMBER = "pred.json"
JOINTS, VERTICES = (21, 3), (778, 3)
# A fixed date, so that the same predictions make the same bytes.
_DATE = (1980, 1, 1, 0, 0, 0)


class PredictionWriter:
    """Writes pred.zip sample by sample, in bounded memory; it appears whole or not at all.

    A context manager: leaving it by an exception writes nothing.

    Args:
      path: the zip file to make.
      count: the number of samples that the challenge expects.
      dataset: "ho3d" (OpenGL axes, HO-3D's joint order, the hand moved onto the given wrist) or
        "freihand" (OpenCV axes, the model's joint order).

    Raises:
      UserError: the folder cannot be written to.
    """

    def __init__(self, path, count, dataset="ho3d"):
        if dataset not in ("ho3d", "freihand"):
            raise ValueError(f"dataset={dataset!r}: expected ho3d or freihand")
        self.path = Path(path)
        self._ho3d = dataset == "ho3d"
        self._expected, self._written = count, 0
        self._files = contextlib.ExitStack()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # The joints come first in the file: both lists wait on disk, not in memory.
            open_list = functools.partial(tempfile.TemporaryFile, dir=self.path.parent)
            self._lists = [self._files.enter_context(open_list()) for _ in range(2)]
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error.strerror}); choose another folder"
            ) from error

    def __enter__(self):
        return self

    def __exit__(self, kind, value, traceback):
        if kind is None:
            self.close()
        else:
            self._files.close()

    def add(self, joints_cam, vertices_cam, wrist_cam=None):
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
        if self._ho3d != (wrist_cam is not None):
            raise ValueError("wrist_cam: needed for ho3d, and for ho3d alone")
        for points in (joints, vertices, wrist_cam if self._ho3d else 0):
            if not np.isfinite(points).all():
                raise UserError(
                    f"{self.path}: sample {self._written} holds NaN or infinity; the checkpoint is "
                    "damaged or its training diverged: use another one"
                )
        if self._ho3d:
            move = np.asarray(wrist_cam, np.float64) - joints[0]
            joints = ((joints + move) * GL_TO_CV)[MODEL_TO_HO3D]
            vertices = (vertices + move) * GL_TO_CV
        for file, points in zip(self._lists, (joints, vertices)):
            file.write(b", " if self._written else b"[")
            file.write(_text(points))
        self._written += 1

    def close(self):
        """Put the file in its place.

        Raises:
          UserError: there are fewer or more samples than expected; nothing is written.
        """
        partial = None
        try:
            if self._written != self._expected:
                raise UserError(
                    f"{self.path}: not written: {self._written} predictions but the dataset has "
                    f"{self._expected} frames; predict the whole evaluation split"
                )
            with tempfile.NamedTemporaryFile(dir=self.path.parent, delete=False) as file:
                partial = file.name
                self._write_zip(file)
            os.chmod(partial, 0o644)
            os.replace(partial, self.path)
        except BaseException as error:
            if partial is not None:
                Path(partial).unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise UserError(
                    f"{self.path}: cannot be written ({error.strerror}); free some space or "
                    "choose another folder"
                ) from error
            raise
        finally:
            self._files.close()

    def _write_zip(self, file):
        info = zipfile.ZipInfo(MEMBER, _DATE)
        info.compress_type = zipfile.ZIP_DEFLATED
        with zipfile.ZipFile(file, "w") as zip_, zip_.open(info, "w", force_zip64=True) as member:
            for start, part in zip((b"[", b", "), self._lists):
                member.write(start if self._written else start + b"[")
                part.seek(0)
                shutil.copyfileobj(part, member, 1 << 20)
                member.write(b"]")
            member.write(b"]")


def read_predictions(path):
    """Read pred.zip or pred.json; a zip's member is read in place, nothing is unpacked.

    Args:
      path: the file.

    Returns:
      xyz (N, 21, 3) and verts (N, 778, 3), float64, in the file's axes and joint order.

    Raises:
      UserError: the file is missing or holds something else.
    """
    path = Path(path)
    try:
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                return _read_json(file, path)
        with zipfile.ZipFile(path) as zip_, zip_.open(MEMBER) as member:
            return _read_json(member, f"{path}:{MEMBER}")
    except KeyError as error:
        raise UserError(f"{path}: holds no {MEMBER}; give a pred.zip or a pred.json") from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"{path}: is a damaged or encrypted zip; write it again") from error


def _read_json(file, name):
    reader = JsonArrays(file, name)
    reader.expect("[")
    xyz = reader.samples(JOINTS)
    reader.expect(",")
    verts = reader.samples(VERTICES)
    reader.expect("]")
    reader.end()
    if len(xyz) != len(verts):
        raise UserError(f"{name}: {len(xyz)} lists of joints but {len(verts)} of vertices")
    return xyz, verts


def _text(points):
    # Six decimals are a micrometre; one format call a sample is what makes this fast.
    rows = ", ".join(["[%.6f, %.6f, %.6f]"] * len(points))
    return f"[{rows}]".encode() % tuple(points.ravel())
