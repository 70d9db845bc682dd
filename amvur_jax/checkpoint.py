"""Checkpoints: with checkpoint_stores the only place that knows Orbax.

A run's folder holds checkpoints/STEP/ with the items `model` {"params", "batch_stats"}, `average` (the
parameters' moving average, where there is one), `training` (optimiser and counters, plain nested
dictionaries), `place` (in the data, JSON) and `config` (JSON): enough to run the network, and to go on.

A checkpoint is written beside its place and renamed when it is whole, while training goes on. The folder
may be a URL's (checkpoint_stores).
"""

import contextlib
import json
import logging
import math
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax.serialization
import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from amvur_jax.checkpoint_stores import (
    COMMITTED,
    as_one_file,
    commits,
    handlers,
    located,
    put,
    to_save,
)
from amvur_jax.errors import UserError
from amvur_jax.files.places import is_url
from amvur_jax.files.whole import write_json
from mano_jax.errors import MALFORMED

CALIBRATION = "calibration.json"
TEMPERATURES = ("temperature", "temperature_given")  # of joints that are the map's, or a detector's

# Orbax tells each read-only folder, each item it does not restore: nothing a user can act on.
logging.getLogger("absl").addFilter(
    lambda record: record.levelno > logging.WARNING or "checkpoint" not in record.pathname
)


def manager(
    run_folder: str | pathlib.Path, keep: int | None = None, best: str | None = None
) -> ocp.CheckpointManager:
    """The Orbax manager of a run's `checkpoints` folder, which it makes if it is missing.

    Args:
      run_folder: the run's folder, of `located`.
      keep: how many of the newest stay; None for all.
      best: name of a score; the checkpoint with the lowest stays too.
    """
    folder = located(run_folder) / "checkpoints"

    def negated(scores: dict[str, float]) -> float:
        value = scores[str(best)]
        return -value if math.isfinite(value) else -math.inf  # what is no number is the worst

    policy = None
    if keep:
        best_one = BestN(get_metric_fn=negated, n=1, keep_checkpoints_without_metrics=False)
        policy = AnyPreservationPolicy([LatestN(keep), best_one] if best else [LatestN(keep)])
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policy,
        # Without it scores are not written, and a run that goes on would not know its best of before.
        best_fn=negated if best else None,
        create=True,
        # what a run that was killed had not finished writing
        cleanup_tmp_directories=True,
        **commits(folder),
    )
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers(folder))


class Saver:
    """Writes a run's checkpoints in the background.

    Args:
      checkpoints: of `manager`.
      config: the run's config, a nested dictionary.
    """

    def __init__(self, checkpoints: ocp.CheckpointManager, config: Mapping[str, Any]) -> None:
        self._checkpoints, self._config = checkpoints, config
        self._step: int | None = None

    def save(
        self,
        step: int,
        state: dict,
        place: Mapping[str, Any],
        scores: Mapping[str, float] | None = None,
    ) -> None:
        """Start to write a checkpoint.

        Args:
          step: its number.
          state: of amvur_jax.training.step; it may be donated afterwards.
          place: in the data, of the batch that comes next.
          scores: {name: number} of the validation at this step, or None.
        Raises:
          UserError: the one before could not be written.
        """
        with self._explained():
            self._checkpoints.wait_until_finished()
        folder = self._checkpoints.directory
        items = {
            "model": to_save(folder, state["model"]),
            "training": to_save(folder, _training(state)),
            "place": ocp.args.JsonSave(place),
            "config": ocp.args.JsonSave(self._config),
        }
        if "average" in state:
            items["average"] = to_save(folder, state["average"])
        self._step = step
        with self._explained():
            self._checkpoints.save(step, args=ocp.args.Composite(**items), metrics=scores)

    def check(self) -> None:
        """Raise a UserError where the checkpoint that is being written has failed."""
        with self._explained():
            self._checkpoints.check_for_errors()

    def finish(self) -> None:
        """Wait until everything is written.

        Raises:
          UserError: it could not be.
        """
        with self._explained():
            self._checkpoints.wait_until_finished()

    def close(self) -> None:
        """Stop writing; what is half written is waited for."""
        with contextlib.suppress(Exception):  # `finish` has told what went wrong
            self._checkpoints.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            known = isinstance(error, (OSError, ValueError, RuntimeError))
            if not (
                known or is_url(self._checkpoints.directory)
            ):  # each store has errors of its own
                raise
            good = [s for s in self._checkpoints.all_steps(read=True) if s != self._step]
            last = f"the one of step {max(good)} is intact" if good else "there is none before it"
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"{self._checkpoints.directory}: the checkpoint of step {self._step} could not be "
                f"written ({reason}); {last}. Make room or choose another --workdir, and start again."
            ) from error


def _training(state: dict) -> dict:
    """What of a state is neither model nor average, as plain nested dictionaries."""
    rest = {name: value for name, value in state.items() if name not in ("model", "average")}
    return flax.serialization.to_state_dict(rest)


def save_model(run_folder: str | pathlib.Path, model: dict, config: Mapping[str, Any]) -> None:
    """Write parameters that no run of ours made, as step 0 of a new run's folder."""
    with manager(run_folder) as checkpoints:
        saved = to_save(checkpoints.directory, model)
        items = {"model": saved, "config": ocp.args.JsonSave(config)}
        checkpoints.save(0, args=ocp.args.Composite(**items))
        checkpoints.wait_until_finished()


def newest(run_folder: str | pathlib.Path) -> int:
    """The step of a run's newest checkpoint, 0 where there is none."""
    return max(_steps(located(run_folder) / "checkpoints"), default=0)


def _steps(folder: pathlib.Path) -> dict[int, pathlib.Path]:
    """{step: folder} of the steps whose checkpoint is whole: its folder gets its name last, or COMMITTED."""
    inside = [p for p in folder.iterdir() if p.name.isdigit()] if folder.is_dir() else []
    if is_url(folder):
        return {int(p.name): p for p in inside if (p / COMMITTED).exists()}
    return {int(p.name): p for p in inside if (p / "model").is_dir()}


def find(path: str | pathlib.Path) -> tuple[pathlib.Path, int]:
    """(run's checkpoints folder, step) of a run's folder, its `checkpoints` or one step's folder.

    Args:
      path: of these; RUN@best is the run's checkpoint with the best validation score, RUN the newest.
    Raises:
      UserError: there is no checkpoint, or none with a score.
    """
    wanted, best, _ = str(path).partition("@best")
    path = located(wanted)
    if path.name.isdigit() and (path / "model").is_dir():
        return path.parent, int(path.name)
    folder = path / "checkpoints" if (path / "checkpoints").is_dir() else path
    steps = _steps(folder)
    if not steps:
        raise UserError(
            f"{path}: no checkpoint here. Give a run's folder (with checkpoints/STEP/ in it) or one "
            "STEP folder; scripts/train.py makes them."
        )
    return folder, _best(folder, steps) if best else max(steps)


def _best(folder: pathlib.Path, steps: dict[int, pathlib.Path]) -> int:
    """The step with the lowest score that its run was to watch."""
    name = _read_json(folder, max(steps), "config")["train"]["best_metric"]
    scores = {}
    for step, inside in steps.items():
        if (inside / "metrics").is_dir():
            value = _read_json(folder, step, "metrics")[name]
            scores[step] = value if math.isfinite(value) else math.inf
    if not scores:
        raise UserError(
            f"{folder}: no checkpoint has a validation score; leave out @best, or train with "
            "config.eval.every"
        )
    return min(scores, key=lambda step: (scores[step], -step))


def _place(folder: pathlib.Path, step: int) -> pathlib.Path:
    """The folder of a step, whose name may have zeros in front."""
    return _steps(folder)[step]


def read_config(path: str | pathlib.Path) -> dict[str, Any]:
    """The configuration, a nested dictionary, that travels with a checkpoint."""
    folder, step = find(path)
    return _read_json(folder, step, "config")


def _read_json(folder: pathlib.Path, step: int, item: str) -> dict[str, Any]:
    with (
        open_manager(folder, item) as checkpoints,
        _damage_named(_place(folder, step) / item),
    ):
        args = ocp.args.Composite(**{item: ocp.args.JsonRestore()})
        values = checkpoints.restore(step, args=args)[item]
        if values is None:
            raise ValueError("it is empty")
        return values


@contextlib.contextmanager
def _damage_named(path: pathlib.Path) -> Iterator[None]:
    """Turn whatever Orbax and TensorStore say of a damaged file into a UserError that names the item."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path}: this part of the checkpoint is damaged or missing ({reason}); copy it again, or give "
            f"another step of {path.parents[1]}"
        ) from error


def open_manager(folder: pathlib.Path, item: str) -> ocp.CheckpointManager:
    """A manager that reads one item alone, so that damage of another is not its business."""
    padded = {len(place.name) for place in _steps(folder).values() if place.name[0] == "0"} - {1}
    options = ocp.CheckpointManagerOptions(
        read_only=True,
        step_format_fixed_length=max(padded, default=None),
        **commits(folder),
    )
    readers = {item: (handlers(folder) | {"metrics": ocp.JsonCheckpointHandler()})[item]}
    return ocp.CheckpointManager(folder, options=options, item_handlers=readers)


def restore_model(path: str | pathlib.Path, shapes: dict, averaged: bool = False) -> dict:
    """Restore {"params", "batch_stats"} into the structure of `shapes`.

    Args:
      path: a run's folder, its `checkpoints`, or one step's folder.
      shapes: the tree of jax.ShapeDtypeStruct that the network expects.
      averaged: the parameters' moving average in their place, where the run has kept one.
    Raises:
      UserError: no checkpoint, or one of another architecture.
    """
    folder, step = find(path)
    model = _restore(folder, step, "model", shapes)
    if averaged and (_place(folder, step) / "average").is_dir():
        model = model | {"params": _restore(folder, step, "average", shapes["params"])}
    return model


def restore_state(path: str | pathlib.Path, shapes: dict) -> tuple[dict, dict[str, Any]]:
    """Restore a run's newest state, onto whatever devices `shapes` names.

    Args:
      path: a run's folder.
      shapes: the state's tree of jax.ShapeDtypeStruct, with shardings.
    Returns:
      The state, and the place in the data of the batch that comes next.
    Raises:
      UserError: no checkpoint, or one of another architecture.
    """
    folder, step = find(path)
    state = {"model": _restore(folder, step, "model", shapes["model"])}
    if "average" in shapes:  # where it was asked for only now, it starts from the parameters
        item = "average" if (_place(folder, step) / "average").is_dir() else "model"
        target = shapes["average"] if item == "average" else shapes["model"]
        restored = _restore(folder, step, item, target)
        state["average"] = restored if item == "average" else restored["params"]
    training = _restore_training(folder, step, _training(shapes))
    rest = {name: value for name, value in shapes.items() if name not in state}
    state |= flax.serialization.from_state_dict(rest, training)
    return state, _read_json(folder, step, "place")


def _restore_training(folder: pathlib.Path, step: int, shapes: dict) -> dict:
    with (
        open_manager(folder, "training") as checkpoints,
        _damage_named(_place(folder, step) / "training"),
    ):
        stored = _stored(checkpoints, step, "training")
    if "mu" not in stored["optimizer"] or "mu" in shapes["optimizer"]:
        return _restore(folder, step, "training", shapes)
    # Of version 0.1: Adam's state alone, which now has its place in a chain.
    (place,) = (name for name, part in shapes["optimizer"].items() if "mu" in part)
    alone = shapes | {"optimizer": shapes["optimizer"][place]}
    training = _restore(folder, step, "training", alone)
    chain = shapes["optimizer"] | {place: training["optimizer"]}
    return training | {"optimizer": chain}


def write_calibration(path: str | pathlib.Path, values: Mapping[str, float]) -> None:
    """Write some of a checkpoint's calibration beside its parameters: TEMPERATURES, of how many samples."""
    folder, step = find(path)
    write_json(_place(folder, step) / CALIBRATION, {**read_calibration(path), **values})


def read_calibration(path: str | pathlib.Path) -> dict[str, float]:
    """The calibration of a checkpoint, empty where it has none.

    Raises:
      UserError: no checkpoint, or a damaged calibration.
    """
    folder, step = find(path)
    file = _place(folder, step) / CALIBRATION
    if not file.exists():
        return {}
    try:
        values = json.loads(file.read_text())
        found = [values[name] for name in TEMPERATURES if name in values]
        if not found or not all(0 < value < float("inf") for value in found):
            raise ValueError
    except (OSError, *MALFORMED) as error:
        raise UserError(
            f"{file}: holds no temperature; delete it, and write it with scripts/evaluate.py --calibrate"
        ) from error
    return values


def restore_part(path: str | pathlib.Path, model: dict) -> dict:
    """`model` with those of its parts that a checkpoint holds: all of them, or the backbone alone.

    Where the run kept a moving average of its parameters, which inference uses, that is taken.

    Args:
      path: a run's folder, its `checkpoints`, or one step's folder.
      model: freshly initialised {"params", "batch_stats"}.
    Raises:
      UserError: no checkpoint, or one with a part that the model has not, or has otherwise.
    """
    folder, step = find(path)
    with (
        open_manager(folder, "model") as checkpoints,
        _damage_named(_place(folder, step) / "model"),
    ):
        stored = _stored(checkpoints, step, "model")
    shapes = {
        kind: {
            name: jax.tree.map(as_shape, part)
            for name, part in parts.items()
            if name in stored[kind]
        }
        for kind, parts in model.items()
    }
    restored = _restore(folder, step, "model", shapes)
    if (_place(folder, step) / "average").is_dir():
        restored = restored | {"params": _restore(folder, step, "average", shapes["params"])}
    return {kind: parts | restored[kind] for kind, parts in model.items()}


def as_shape(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=getattr(leaf, "sharding", None))


def _restore(folder: pathlib.Path, step: int, item: str, shapes: dict) -> dict:
    with (
        open_manager(folder, item) as checkpoints,
        _damage_named(_place(folder, step) / item),
    ):
        stored = _stored(checkpoints, step, item)
        check_same(_place(folder, step) / item, stored, shapes)
        device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        target = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=s.sharding or device), shapes
        )
        if as_one_file(folder):  # `stored` are the arrays
            return jax.tree.map(put, target, stored)
        args = ocp.args.Composite(**{item: ocp.args.StandardRestore(target)})
        return checkpoints.restore(step, args=args)[item]


def _stored(checkpoints: ocp.CheckpointManager, step: int, item: str) -> dict:
    """The tree of what an item holds, of arrays' shapes."""
    tree = _tree(checkpoints.item_metadata(step)[item])
    if not tree:
        raise ValueError("nothing tells what it holds")
    return tree


def _tree(metadata: Any) -> dict:
    """The nested dictionary in what Orbax tells of an item, whatever it is wrapped in."""
    return getattr(metadata, "tree", metadata)


def check_same(path: pathlib.Path, stored: Any, shapes: dict) -> None:
    """Raise a UserError that names what differs between a stored tree and the expected one."""

    def by_name(tree: dict) -> dict[str, tuple[int, ...]]:
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
