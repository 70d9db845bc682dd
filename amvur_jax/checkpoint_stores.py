"""Where checkpoints lie and how Orbax writes there: folders, gs://, and other stores behind URLs.

Behind a URL nothing can be renamed: a checkpoint is whole when COMMITTED is there. Orbax writes arrays to
folders and to gs:// alone (0.12.8, https://github.com/google/orbax/pull/2739); to other stores, such as
s3://, each item goes as one file, by one process and while training waits.
"""

import dataclasses
import pathlib
from typing import Any

import flax.serialization
import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from amvur_jax.errors import UserError
from amvur_jax.files.places import is_url, place
from amvur_jax.files.whole import write_whole

STORES = ("gs://", "s3://", "az://", "hf://")  # that etils opens
COMMITTED = "commit_success.txt"  # Orbax's name for it


def located(path: str | pathlib.Path) -> pathlib.Path:
    """A folder as Orbax takes it: absolute, or behind a URL, of gs://, s3://, az:// or hf://.

    Raises:
      UserError: a URL of another kind, or one for which a library is missing.
    """
    if not is_url(path):
        return pathlib.Path(path).absolute()
    if not str(path).startswith(STORES):
        raise UserError(f"{path}: checkpoints go to a folder or to a URL of {', '.join(STORES)}")
    place(path)  # tells which library is missing
    return epath.Path(str(path))


def as_one_file(folder: pathlib.Path) -> bool:
    """Whether the items of checkpoints there are one file each."""
    return is_url(folder) and not str(folder).startswith("gs://")


class _OneFile(ocp.CheckpointHandler):
    """Writes an item, nested dictionaries of arrays, as one file of flax.serialization's MessagePack."""

    NAME = "arrays.msgpack"

    def save(self, directory: epath.Path, args: "_OneFileSave") -> None:
        if jax.process_index() == 0:
            data = flax.serialization.msgpack_serialize(args.item)
            write_whole(directory / self.NAME, data)

    def restore(self, directory: epath.Path, args: "_OneFileRestore | None" = None) -> dict:
        return flax.serialization.msgpack_restore((directory / self.NAME).read_bytes())

    def metadata(self, directory: epath.Path) -> dict:
        return self.restore(directory)


@ocp.args.register_with_handler(_OneFile, for_save=True)
@dataclasses.dataclass
class _OneFileSave(ocp.args.CheckpointArgs):
    item: dict


@ocp.args.register_with_handler(_OneFile, for_restore=True)
@dataclasses.dataclass
class _OneFileRestore(ocp.args.CheckpointArgs):
    item: dict | None = None


def to_save(folder: pathlib.Path, tree: dict) -> ocp.args.CheckpointArgs:
    """What saves a tree of arrays in a run's checkpoints folder.

    Raises:
      UserError: an array is spread over processes and is to go into one file.
    """
    if not as_one_file(folder):
        return ocp.args.StandardSave(tree)
    if not all(map(_is_here, jax.tree.leaves(tree))):
        raise UserError(
            f"{folder}: parameters that are spread over processes (config.train.shard_parameters) go to a "
            "folder that all see, or to gs://"
        )
    return _OneFileSave(jax.tree.map(np.array, tree))  # copies: what they are of may be donated


def _is_here(leaf: Any) -> bool:
    """Whether this process has all of an array."""
    return not isinstance(leaf, jax.Array) or leaf.is_fully_addressable or leaf.is_fully_replicated


def commits(folder: pathlib.Path) -> dict[str, Any]:
    """The option of a manager by which a checkpoint behind a URL is whole when COMMITTED is there."""
    if not is_url(folder):
        return {}
    return {"temporary_path_class": ocp.path.atomicity.CommitFileTemporaryPath}


def handlers(folder: pathlib.Path) -> dict[str, ocp.CheckpointHandler]:
    arrays = _OneFile if as_one_file(folder) else ocp.StandardCheckpointHandler
    return {
        "model": arrays(),
        "average": arrays(),
        "training": arrays(),
        "place": ocp.JsonCheckpointHandler(),
        "config": ocp.JsonCheckpointHandler(),
    }


def put(target: jax.ShapeDtypeStruct, array: np.ndarray) -> jax.Array:
    """An array of this process's memory as one of the device or devices of a target."""
    array = np.asarray(array, target.dtype)
    return jax.make_array_from_callback(array.shape, target.sharding, lambda part: array[part])
