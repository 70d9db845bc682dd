"""Arrays of a file that nobody vouches for."""

import zipfile
from pathlib import Path

import numpy as np

from mano_jax.errors import MALFORMED


def read_arrays(path: str | Path, largest: int) -> dict[str, np.ndarray]:
    """All arrays of an .npz by their names; pickled ones are refused.

    Args:
      path: of the file.
      largest: bytes that they may unpack to.

    Raises:
      OSError: the file cannot be read.
      ValueError: it is no such archive, is damaged, or unpacks to more.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > largest:
                raise ValueError(f"it unpacks to more than {largest} bytes")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except MALFORMED as error:
        raise ValueError(str(error) or type(error).__name__) from error
    if others := [name for name, value in arrays.items() if not isinstance(value, np.ndarray)]:
        raise ValueError(f"{others[0]} is no array")
    return arrays
