"""Checkpoints: the only place that knows Orbax.

A run's folder holds checkpoints/STEP/ with three items: `model` {"params", "batch_stats"}, `optimizer`
(plain nested dictionaries) and `config` (JSON), so that a checkpoint is enough to run the network.
"""

import json
import logging
import os
import pathlib

import flax.serialization
import jax
import orbax.checkpoint as ocp

from amvur_jax.errors import UserError

CALIBRATION = "calibration.json"

# Orbax tells each read-only folder, each item it does not restore: nothing a user can act on.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno > logging.WARNING or "checkpoint" not in record.pathname
)


def manager(run_folder, keep=None):
    """The Orbax manager of a run's `checkpoints` folder, which it makes if it is missing."""
    folder = pathlib.Path(run_folder).absolute() / "checkpoints"
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
    return ocp.CheckpointManager(folder, options=options, item_handlers=_handlers())


def _handlers():
    return {
        "model": ocp.StandardCheckpointHandler(),
        "optimizer": ocp.StandardCheckpointHandler(),
        "config": ocp.JsonCheckpointHandler(),
    }


def save(checkpoints, step, model, optimizer_state, config):
    """Start to write step's checkpoint; call checkpoints.wait_until_finished() before the exit."""
    checkpoints.save(
        step,
        args=ocp.args.Composite(
            model=ocp.args.StandardSave(model),
            optimizer=ocp.args.StandardSave(flax.serialization.to_state_dict(optimizer_state)),
            config=ocp.args.JsonSave(config),
        ),
    )


def save_model(run_folder, model, config):
    """Write parameters that no run of ours made, as step 0 of a new run's folder."""
    with manager(run_folder) as checkpoints:
        items = {"model": ocp.args.StandardSave(model), "config": ocp.args.JsonSave(config)}
        checkpoints.save(0, args=ocp.args.Composite(**items))
        checkpoints.wait_until_finished()


def find(path):
    """(run's checkpoints folder, step) of a run's folder, its `checkpoints` or one step's folder.

    Raises:
      UserError: there is no checkpoint.
    """
    path = pathlib.Path(path).absolute()
    if path.name.isdigit() and (path / "model").is_dir():
        return path.parent, int(path.name)
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    steps = [
        int(p.name)
        for p in (folder.iterdir() if folder.is_dir() else ())
        if p.name.isdigit() and (p / "model").is_dir()
    ]
    if not steps:
        raise UserError(
            f"{path}: no checkpoint here. Give a run's folder (with checkpoints/STEP/ in it) or one "
            "STEP folder; scripts/train.py makes them."
        )
    return folder, max(steps)


def read_config(path):
    """The configuration, a nested dictionary, that travels with a checkpoint."""
    folder, step = find(path)
    with open_manager(folder) as checkpoints:
        restored = checkpoints.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore()))
    return restored["config"]


def open_manager(folder):
    options = ocp.CheckpointManagerOptions(read_only=True)
    return ocp.CheckpointManager(folder, options=options, item_handlers=_handlers())


def restore_model(path, shapes):
    """Restore {"params", "batch_stats"} into the structure of `shapes`.

    Args:
      path: a run's folder, its `checkpoints`, or one step's folder.
      shapes: the tree of jax.ShapeDtypeStruct that the network expects.
    Raises:
      UserError: no checkpoint, or one of another architecture.
    """
    folder, step = find(path)
    return _restore(folder, step, "model", shapes)


def write_calibration(path, values):
    """Write the calibration of a checkpoint, a dictionary with "temperature", beside its parameters."""
    folder, step = find(path)
    file = folder / str(step) / CALIBRATION
    try:
        temporary = file.with_suffix(".partial")
        temporary.write_text(json.dumps(values, indent=2) + "\n")
        os.replace(temporary, file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written ({error.strerror})") from error


def read_calibration(path):
    """The calibration of a checkpoint, or None where it has none.

    Raises:
      UserError: no checkpoint, or a damaged calibration.
    """
    folder, step = find(path)
    file = folder / str(step) / CALIBRATION
    if not file.exists():
        return None
    try:
        values = json.loads(file.read_text())
        if not 0 < values["temperature"] < float("inf"):
            raise ValueError
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{file}: holds no temperature; write it again with scripts/evaluate.py --calibrate"
        ) from error
    return values


def restore_part(path, model):
    """`model` with those of its parts that a checkpoint holds: all of them, or the backbone alone.

    Args:
      path: a run's folder, its `checkpoints`, or one step's folder.
      model: freshly initialised {"params", "batch_stats"}.
    Raises:
      UserError: no checkpoint, or one with a part that the model has not, or has otherwise.
    """
    folder, step = find(path)
    with open_manager(folder) as checkpoints:
        stored = _tree(checkpoints.item_metadata(step)["model"])
    shapes = {
        kind: {
            name: jax.tree.map(as_shape, part)
            for name, part in parts.items()
            if name in stored[kind]
        }
        for kind, parts in model.items()
    }
    restored = _restore(folder, step, "model", shapes)
    return {kind: parts | restored[kind] for kind, parts in model.items()}


def restore_optimizer(path, step, optimizer_state):
    """The optimiser's state of that step, in the structure of `optimizer_state`."""
    shapes = jax.tree.map(as_shape, flax.serialization.to_state_dict(optimizer_state))
    folder, _ = find(path)
    restored = _restore(folder, step, "optimizer", shapes)
    return flax.serialization.from_state_dict(optimizer_state, restored)


def as_shape(leaf):
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))


def _restore(folder, step, item, shapes):
    with open_manager(folder) as checkpoints:
        stored = checkpoints.item_metadata(step)[item]
        check_same(folder / str(step) / item, stored, shapes)
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=device), shapes
        )
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(target)})
        return checkpoints.restore(step, args=args)[item]


def _tree(metadata):
    """The nested dictionary in what Orbax tells of an item, whatever it is wrapped in."""
    return getattr(metadata, "tree", metadata)


def check_same(path, stored, shapes):
    """Raise a UserError that names what differs between a stored tree and the expected one."""

    def by_name(tree):
        leaves = jax.tree_util.tree_leaves_with_path(tree)
        return {
            jax.tree_util.keystr(p, simple=True, separator="/"): tuple(x.shape) for p, x in leaves
        }

    have, want = by_name(_tree(stored)), by_name(shapes)
    problems = [f"{n}: missing from the checkpoint" for n in want if n not in have]
    problems += [f"{n}: not in the network" for n in have if n not in want]
    problems += [
        f"{n}: shape {have[n]} in the checkpoint, {want[n]} in the network"
        for n in want
        if n in have and have[n] != want[n]
    ]
    if problems:
        shown = "\n  ".join(problems[:5])
        raise UserError(
            f"{path}: a checkpoint of another architecture ({len(problems)} differences):\n  {shown}\n"
            "Set config.model as it was when the checkpoint was made (its folder has the config), or "
            "start in another --workdir."
        )
