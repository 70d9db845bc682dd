"""Anyone's predictions: pred.zip, pred.json or .npz, read in bounded memory."""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO

import numpy as np

from amvur_jax.data.readers.ground_truth import JOINTS, VERTICES
from amvur_jax.errors import UserError
from amvur_jax.files.json_arrays import JsonArrays
from mano_jax.arrays import read_arrays
from mano_jax.errors import MALFORMED

MEMBER = "pred.json"
_LARGEST = 8 << 30  # bytes of arrays: far above any data set's
_FORMS = (
    "give a pred.zip or pred.json (a list of joints, then one of vertices) or an .npz with one array "
    "(N, 21, 3) and one (N, 778, 3)"
)


@contextlib.contextmanager
def open_predictions(path: str | Path) -> Iterator[tuple[np.ndarray, Iterator[np.ndarray]]]:
    """Open a file of predictions; a zip's member is read in place, nothing is unpacked.

    Args:
      path: pred.zip, pred.json, or an .npz.

    Yields:
      joints (N, 21, 3) float64 and an iterator over N vertices (778, 3), in the file's axes and joint
      order. In a JSON file the vertices come after the joints: the iterator reads as it goes.

    Raises:
      UserError: the file is missing or holds something else; also from the iterator.
    """
    path = Path(path)
    with _named_errors(path), contextlib.ExitStack() as files:
        if not zipfile.is_zipfile(path):
            yield _from_json(files.enter_context(open(path, "rb")), path)
            return
        member, file = _opened(path, files)
        yield _from_arrays(path) if file is None else _from_json(file, f"{path}:{member}")


def _opened(path: Path, files: contextlib.ExitStack) -> tuple[str, IO[bytes] | None]:
    """The JSON of a zip, its name and content; None where the zip is one of arrays."""
    try:
        archive = files.enter_context(zipfile.ZipFile(path))
        member = _member(path, archive.namelist())
        return member or "", files.enter_context(archive.open(member)) if member else None
    except MALFORMED as error:
        raise _damaged(path) from error


def read_predictions(path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a file of predictions whole.

    Args:
      path: as open_predictions.

    Returns:
      joints (N, 21, 3) and vertices (N, 778, 3), float64, in the file's axes and joint order.

    Raises:
      UserError: the file is missing or holds something else.
    """
    with open_predictions(path) as (joints, vertices):
        rows = list(vertices)
        return joints, np.stack(rows) if rows else np.zeros((0, *VERTICES))


@contextlib.contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:  # while it is read
        raise _damaged(path) from error


def _damaged(path: Path) -> UserError:
    return UserError(f"{path}: is a damaged or encrypted zip; write it again")


def _member(path: Path, names: list[str]) -> str | None:
    """The archive's pred.json, or its only JSON as the official programs take it; None for arrays.

    It is read in place, whatever folder its name says, and whichever slash is in it.
    """

    def last(name: str) -> str:
        return PurePosixPath(name.replace("\\", "/")).name

    # What macOS puts beside each file is no file of the user's.
    jsons = [n for n in names if last(n).lower().endswith(".json") and not last(n).startswith("._")]
    found = [n for n in jsons if last(n) == MEMBER] or jsons
    if not found and any(name.endswith(".npy") for name in names):
        return None
    if len(found) != 1:
        held = f"{len(found)} files {', '.join(map(last, found[:3]))}" if found else "no .json"
        raise UserError(f"{path}: holds {held}; {_FORMS}")
    return found[0]


def _from_json(file: IO[bytes], name: str | Path) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    reader = JsonArrays(file, name)
    reader.expect("[")
    joints = reader.samples(JOINTS)
    reader.expect(",")

    def vertices() -> Iterator[np.ndarray]:
        count = 0
        for sample in reader.stream(VERTICES):
            yield sample
            count += 1
        reader.expect("]")
        reader.end()
        if count != len(joints):
            raise UserError(f"{name}: {len(joints)} lists of joints but {count} of vertices")

    return joints, vertices()


def _from_arrays(path: Path) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    try:
        arrays = read_arrays(path, _LARGEST)
    except ValueError as error:
        raise UserError(f"{path}: {error}; arrays of plain numbers are read") from error
    joints, vertices = (_pick(path, arrays, shape) for shape in (JOINTS, VERTICES))
    if len(joints) != len(vertices):
        raise UserError(f"{path}: {len(joints)} samples of joints but {len(vertices)} of vertices")
    for kind, values in (("joints", joints), ("vertices", vertices)):
        bad = ~np.isfinite(values).all(axis=(1, 2))
        if bad.any():
            raise UserError(f"{path}: entry {bad.argmax()} of the {kind} holds NaN or infinity")
    return joints.astype(np.float64), (np.asarray(v, np.float64) for v in vertices)


def _pick(path: Path, arrays: Mapping[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The one array of predictions with samples of this shape: never one that is called the truth."""
    fitting = {
        name: values
        for name, values in arrays.items()
        if values.shape[1:] == shape and values.dtype.kind in "fiu"
    }
    if len(fitting) > 1:
        fitting = {n: v for n, v in fitting.items() if not re.match(r"gt|ground|target|true", n)}
    if len(fitting) != 1:
        shapes = ", ".join(f"{name} {values.shape}" for name, values in arrays.items())
        size = ", ".join(map(str, shape))
        raise UserError(
            f"{path}: has {len(fitting)} arrays of shape (N, {size}) among {shapes}; {_FORMS}"
        )
    return next(iter(fitting.values()))
