"""evaluation_xyz.json and evaluation_verts.json, the ground truth that HO-3D and FreiHAND publish.

Both data sets have files of these names and this form; what their axes and joint order are is the
data set's business.
"""

import contextlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from amvur_jax.errors import UserError
from amvur_jax.files.json_arrays import JsonArrays
from amvur_jax.files.places import place

JOINTS_FILE, VERTICES_FILE = "evaluation_xyz.json", "evaluation_verts.json"
JOINTS, VERTICES = (21, 3), (778, 3)


class Holder:
    """A reader that has `ground_truth`, and leaves it behind where it goes to a process that reads frames.

    It is hundreds of megabytes, is read when it is first asked for, and stays.
    """

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "ground_truth"}


def has_ground_truth(root: str | Path) -> bool:
    """Whether both files are in the folder."""
    return all((place(root) / name).is_file() for name in (JOINTS_FILE, VERTICES_FILE))


def joints(root: str | Path) -> np.ndarray:
    """The joints (N, 21, 3) float64 as the file has them.

    Raises:
      UserError: the file is missing or malformed.
    """
    with _open(root, JOINTS_FILE) as reader:
        values = reader.samples(JOINTS)
        reader.end()
    return values


def vertices(root: str | Path) -> Generator[np.ndarray, None, None]:
    """Yield the vertices (778, 3) float64 of one sample after another, as the file has them.

    Raises:
      UserError: the file is missing or malformed.
    """
    with _open(root, VERTICES_FILE) as reader:
        yield from reader.stream(VERTICES)
        reader.end()


@contextlib.contextmanager
def _open(root: str | Path, name: str) -> Iterator[JsonArrays]:
    path = place(root) / name
    try:
        with path.open("rb") as file:
            yield JsonArrays(file, path)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror or error}); the ground truth is {JOINTS_FILE} and "
            f"{VERTICES_FILE} of the data set's release, in one folder"
        ) from error


def sample_names(root: str | Path) -> list[str] | None:
    """The samples' names, such as "SM1/0000", from evaluation.txt; None where there is no such file."""
    path = place(root) / "evaluation.txt"
    if not path.is_file():
        return None
    try:
        lines = path.read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no readable text file; download it again") from error
    return lines
