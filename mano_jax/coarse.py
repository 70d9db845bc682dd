"""The coarse mesh: a (195, 778) matrix that picks vertices spread evenly over the hand."""

import io
import zipfile
from pathlib import Path

import numpy as np
from jax.typing import ArrayLike

from mano_jax.errors import MALFORMED, FileFormatError
from mano_jax.pickle_reader import StandIn, read_pickle_bytes

COARSE_VERTICES = 195
MESH_VERTICES = 778


def coarse_matrix(v_template: ArrayLike, n: int = COARSE_VERTICES) -> np.ndarray:
    """Pick `n` vertices by farthest-point sampling: each is the farthest from those before it.

    Args:
      v_template: (V, 3) rest mesh, metres.
      n: number of coarse vertices.

    Returns:
      (n, V) float32, one-hot rows in increasing vertex order: coarse = matrix @ vertices.
    """
    vertices = np.asarray(v_template, np.float64)
    chosen = [int(np.argmax(np.sum((vertices - vertices.mean(0)) ** 2, axis=-1)))]
    distance = np.full(len(vertices), np.inf)
    while len(chosen) < n:
        distance = np.minimum(distance, np.sum((vertices - vertices[chosen[-1]]) ** 2, axis=-1))
        chosen.append(int(np.argmax(distance)))
    matrix = np.zeros((n, len(vertices)), np.float32)
    matrix[np.arange(n), np.sort(chosen)] = 1.0
    return matrix


def sparse_to_dense(value: StandIn, name: str | Path, field: str) -> np.ndarray:
    """Turn the stand-in of a scipy csc_matrix or csr_matrix into an array.

    Args:
      value: StandIn with state data, indices, indptr, _shape.
      name: what an error calls the file.
      field: what an error calls the field.

    Returns:
      (rows, columns) float64 array.

    Raises:
      FileFormatError: the parts do not make a matrix.
    """
    try:
        state = value.state
        data, indices, indptr = (np.asarray(state[k]) for k in ("data", "indices", "indptr"))
        rows, columns = (int(n) for n in state.get("_shape", state.get("shape")))
        if rows < 1 or columns < 1 or rows * columns > 1 << 22:
            raise ValueError(f"a matrix of {rows} x {columns}")
        by_row = value.kind == "csr_matrix"
        counts: np.ndarray = np.diff(indptr.astype(np.int64))
        lines = rows if by_row else columns
        if len(counts) != lines or counts.min() < 0 or counts.sum() != len(data):
            raise ValueError("its row or column pointers do not fit its data")
        if indices.min(initial=0) < 0:
            raise ValueError("a negative row or column")
        line = np.repeat(np.arange(lines), counts)
        dense = np.zeros((rows, columns))
        np.add.at(dense, (line, indices) if by_row else (indices, line), data)
    except MALFORMED as error:
        raise FileFormatError(f"{name}: {field} is no sparse matrix: {error}") from error
    return dense


def read_downsampling(path: str | Path) -> np.ndarray:
    """Read D, full mesh to coarse mesh, from the published `mano_downsampling.npz`.

    The file holds pickled scipy matrices: they go through the restricted reader.

    Args:
      path: the .npz.

    Returns:
      (195, 778) float32.

    Raises:
      FileFormatError: the file is no such archive.
    """
    path = Path(path)
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.getinfo("D.npy").file_size > 64 << 20:
                raise FileFormatError(f"{path}: D is larger than any down-sampling matrix")
            data = archive.read("D.npy")
        stream = io.BytesIO(data)
        major, _ = np.lib.format.read_magic(stream)
        read_header = getattr(np.lib.format, f"read_array_header_{major}_0")
        _, _, dtype = read_header(stream)
    except FileFormatError:
        raise
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error}") from error
    except MALFORMED as error:
        raise FileFormatError(
            f"{path}: field D is not found: {error}; "
            "give the published mano_downsampling.npz, or leave the option empty"
        ) from error
    if dtype.hasobject:
        value = read_pickle_bytes(data[stream.tell() :], "mano", f"{path}, field D")
        value = value[0] if isinstance(value, list) and value else value
        matrix = sparse_to_dense(value, path, "D") if isinstance(value, StandIn) else None
    else:
        matrix = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    shape = (COARSE_VERTICES, MESH_VERTICES)
    if matrix is None or matrix.shape != shape or not np.isfinite(matrix).all():
        raise FileFormatError(f"{path}: field D is no matrix of {shape} numbers")
    return matrix.astype(np.float32)
