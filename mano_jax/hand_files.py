"""Reading and writing hand models: the embedded hand, MANO's own pickles, and our .npz."""

import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from mano_jax.arrays import read_arrays
from mano_jax.coarse import COARSE_VERTICES, coarse_matrix, read_downsampling, sparse_to_dense
from mano_jax.errors import MALFORMED, FileFormatError
from mano_jax.model import HandModel
from mano_jax.pickle_reader import StandIn, read_pickle
from mano_jax.topology import PARENTS

EMBEDDED_HAND = Path(__file__).parent / "assets" / "hand.npz"

_REMEDY = (
    "download MANO_RIGHT.pkl or MANO_LEFT.pkl from https://mano.is.tue.mpg.de, "
    "or leave the path empty for the embedded hand"
)
_MAX_BYTES = 64 << 20
# Least cosine, up to its sign, between the x of the shape directions of MANO's two hands: it is 1
# of the published files.
_ALIKE = 0.5
_SIDES = ("right", "left")
_ARRAYS = tuple(
    f.name for f in dataclasses.fields(HandModel) if f.name not in ("parents", "side", "name")
)


def load_hand(
    path: str | Path | None = None,
    side: str = "right",
    downsampling: str | Path | None = None,
    fix_left_shapedirs: bool | None = None,
) -> HandModel:
    """Load a hand model.

    Args:
      path: None for the embedded hand; MANO_RIGHT.pkl or MANO_LEFT.pkl as downloaded; a folder
        that holds them; or an .npz written by save_hand.
      side: "right" or "left". Of the embedded hand the left one is its mirror image.
      downsampling: the published mano_downsampling.npz; None computes the coarse mesh.
      fix_left_shapedirs: whether to negate the x of the left pickle's shape directions: the
        published MANO_LEFT.pkl has the right hand's x there
        (https://github.com/vchoutas/smplx/issues/48), but copies go about in which that is
        corrected. None compares with the MANO_RIGHT.pkl in the same folder: a corrected file is
        left as it is; without that file, or where the two are not alike, the left one is taken
        for the published one and negated. True always negates, False never.

    Returns:
      The HandModel, in float32.

    Raises:
      FileFormatError: the file is absent or no hand model; names the file, field and remedy.
      ValueError: side is neither "right" nor "left".
    """
    if side not in _SIDES:
        raise ValueError(f"side={side!r}: expected 'right' or 'left'")
    if path is None or str(path) == "":
        arrays, parents, found, name = _read_npz(EMBEDDED_HAND)
        arrays = arrays if side == found else _mirrored(arrays)
    else:
        path = Path(path)
        if path.is_dir():
            path = path / f"MANO_{side.upper()}.pkl"
        if not path.is_file():
            raise FileFormatError(f"{path}: no such file; {_REMEDY}")
        if path.suffix == ".npz":
            arrays, parents, found, name = _read_npz(path)
            if found != side:
                raise FileFormatError(f"{path}: holds a {found} hand; pass side={found!r}")
        else:
            if path.name in ("MANO_RIGHT.pkl", "MANO_LEFT.pkl") and side.upper() not in path.name:
                raise FileFormatError(f"{path}: is not the {side} hand; pass the other side")
            arrays, parents = _read_mano(path)
            name = path.name
            if side == "left" and _to_be_fixed(arrays["shapedirs"], path, fix_left_shapedirs):
                arrays["shapedirs"][:, 0] *= -1
    if downsampling:
        arrays["coarse"] = read_downsampling(downsampling)
    elif "coarse" not in arrays:
        arrays["coarse"] = coarse_matrix(arrays["v_template"])
    _check(arrays, parents, path or EMBEDDED_HAND)
    fields = {
        k: jnp.asarray(v, jnp.int32 if k == "faces" else jnp.float32) for k, v in arrays.items()
    }
    return HandModel(**fields, parents=parents, side=side, name=name)


def save_hand(path: str | Path, hand: HandModel) -> None:
    """Write a hand model as an .npz that load_hand reads, without pickles inside.

    Args:
      path: the file, ending in .npz.
      hand: a HandModel.

    Raises:
      ValueError: the path does not end in .npz.
    """
    if Path(path).suffix != ".npz":
        raise ValueError(f"{path}: a hand is saved as .npz")
    # Any: numpy's own stub would take each of them for allow_pickle, too.
    arrays: dict[str, Any] = {k: np.asarray(getattr(hand, k)) for k in _ARRAYS}
    parents = np.array(hand.parents, np.int32)
    np.savez_compressed(path, **arrays, parents=parents, side=hand.side, name=hand.name)


def _read_npz(path: Path) -> tuple[dict[str, np.ndarray], tuple[int, ...], str, str]:
    try:
        found = read_arrays(path, _MAX_BYTES)
        arrays = {name: found[name] for name in (*_ARRAYS, "parents", "side", "name")}
    except OSError as error:
        raise FileFormatError(f"{path}: cannot be read: {error}; {_REMEDY}") from error
    except (ValueError, KeyError) as error:
        raise FileFormatError(
            f"{path}: this is no hand file of mano_jax.save_hand: {error}; {_REMEDY}"
        ) from error
    side, name = str(arrays.pop("side")), str(arrays.pop("name"))
    parents = arrays.pop("parents")
    if side not in _SIDES or parents.shape != (len(PARENTS),):
        raise FileFormatError(f"{path}: fields side, parents: no hand of 16 joints; {_REMEDY}")
    return arrays, tuple(int(p) for p in parents), side, name


def _read_mano(path: Path) -> tuple[dict[str, np.ndarray], tuple[int, ...]]:
    """The arrays of MANO's own pickle, and its parents."""
    try:
        content = read_pickle(path, "mano")
    except FileFormatError as error:
        raise FileFormatError(f"{error}; {_REMEDY}") from error
    if not isinstance(content, dict):
        raise FileFormatError(f"{path}: this is no MANO file: it holds no dictionary; {_REMEDY}")

    def field(key: str) -> np.ndarray:
        if key not in content:
            raise FileFormatError(f"{path}: this is no MANO file: no field {key}; {_REMEDY}")
        value = _plain(content[key], path, key)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iuf":
            raise FileFormatError(f"{path}: field {key} holds no numbers; {_REMEDY}")
        return value

    tree = field("kintree_table")
    if tree.shape != (2, len(PARENTS)):
        raise FileFormatError(f"{path}: field kintree_table is {tree.shape}; {_REMEDY}")
    # The wrist's parent is written as 2^32 - 1.
    parents = tuple(int(p) if p < len(PARENTS) else -1 for p in tree[0].astype(np.int64))
    shapedirs = field("shapedirs")
    if shapedirs.ndim != 3 or shapedirs.shape[1] != 3:
        raise FileFormatError(f"{path}: field shapedirs is {shapedirs.shape}; {_REMEDY}")
    arrays = {
        "v_template": field("v_template"),
        "shapedirs": np.array(shapedirs[..., :10], np.float64),
        "posedirs": field("posedirs"),
        "joint_regressor": field("J_regressor"),
        "weights": field("weights"),
        "components": field("hands_components"),
        "mean_pose": field("hands_mean"),
        "faces": field("f"),
    }
    return arrays, parents


def _to_be_fixed(left: np.ndarray, path: Path, wish: bool | None) -> bool:
    """Whether the x of a left pickle's shape directions is to be negated.

    A mirror image's x moves the other way; the published left file's moves like the right hand's.
    A MANO_RIGHT.pkl that is absent, damaged or of another model tells nothing.
    """
    if wish is not None:
        return wish
    neighbour = path.with_name("MANO_RIGHT.pkl")
    try:
        right = _read_mano(neighbour)[0]["shapedirs"]
    except FileFormatError:
        return True
    if left.shape != right.shape:
        return True
    a, b = left[:, 0].ravel(), right[:, 0].ravel()
    return not a @ b < -_ALIKE * np.linalg.norm(a) * np.linalg.norm(b)


def _plain(value: Any, path: Path, key: str) -> Any:
    """The array inside a chumpy or scipy stand-in."""
    if not isinstance(value, StandIn):
        return value
    if value.kind in ("csc_matrix", "csr_matrix"):
        return sparse_to_dense(value, path, key)
    try:
        if value.kind == "Ch":
            return value.state["x"]
        # chumpy.reordering.Select: x.ravel()[idxs], reshaped.
        x = _plain(value.state["a"], path, key)
        shape = tuple(int(n) for n in value.state["preferred_shape"])
        return np.ravel(x)[value.state["idxs"]].reshape(shape)
    except MALFORMED as error:
        raise FileFormatError(f"{path}: field {key}: a damaged chumpy object; {_REMEDY}") from error


def _check(arrays: dict[str, np.ndarray], parents: tuple[int, ...], path: str | Path) -> None:
    v, j = 778, len(PARENTS)
    shapes = {
        "v_template": (v, 3),
        "shapedirs": (v, 3, 10),
        "posedirs": (v, 3, 9 * (j - 1)),
        "joint_regressor": (j, v),
        "weights": (v, j),
        "components": (3 * (j - 1), 3 * (j - 1)),
        "mean_pose": (3 * (j - 1),),
        "coarse": (COARSE_VERTICES, v),
    }
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise FileFormatError(
                f"{path}: field {key} is {arrays[key].shape}, expected {shape}; {_REMEDY}"
            )
        if arrays[key].dtype.kind not in "iuf" or not np.isfinite(arrays[key]).all():
            raise FileFormatError(f"{path}: field {key} holds a value that is no number; {_REMEDY}")
    faces = arrays["faces"]
    if faces.dtype.kind not in "iu" or faces.ndim != 2 or faces.shape[1] != 3 or not len(faces):
        raise FileFormatError(f"{path}: field faces is no list of triangles; {_REMEDY}")
    if faces.min() < 0 or faces.max() >= v:
        raise FileFormatError(f"{path}: field faces names vertices beyond {v - 1}; {_REMEDY}")
    if parents[0] != -1 or any(not 0 <= p < i for i, p in enumerate(parents) if i):
        raise FileFormatError(f"{path}: the joints' parents make no tree; {_REMEDY}")


def _mirrored(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The mirror image in x of a hand: a rotation r becomes (rx, -ry, -rz)."""
    flip = np.array([-1.0, 1.0, 1.0], np.float32)
    axial = np.array([1.0, -1.0, -1.0], np.float32)
    # Entry (a, b) of R - I changes sign with the parity of x in a and b.
    entry = np.tile(np.outer(flip, flip).ravel(), 15)
    return arrays | {
        "v_template": arrays["v_template"] * flip,
        "shapedirs": arrays["shapedirs"] * flip[:, None],
        "posedirs": arrays["posedirs"] * flip[:, None] * entry,
        "components": arrays["components"] * np.tile(axial, 15),
        "mean_pose": arrays["mean_pose"] * np.tile(axial, 15),
        "faces": arrays["faces"][:, ::-1],
    }
