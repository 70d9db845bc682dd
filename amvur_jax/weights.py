"""A trained network as one small file, 16-bit numbers without pickles: the weights that ship are one.

write_weights("hand.npz", inference.load("runs/hand"))
predictor = inference.load("hand.npz")      # or inference.load(), of the file in the package
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from amvur_jax.errors import UserError
from amvur_jax.files.whole import explained, writing
from mano_jax.arrays import read_arrays
from mano_jax.errors import MALFORMED

if TYPE_CHECKING:
    from amvur_jax.inference import Predictor

SHIPPED = Path(__file__).parent / "assets" / "hand.npz"
NAME = "shipped"  # what stands for it in a flag or a config
_ABOUT = "about"
_LARGEST = 2**31


class Weights(NamedTuple):
    """state {"params", "batch_stats"} of float32 arrays; its config; the sigmas' temperatures, or None.

    temperature_given: that of joints that a detector gives.
    """

    state: dict[str, Any]
    config: dict[str, Any]
    temperature: float | None
    temperature_given: float | None


def file_of(path: str | Path) -> Path | None:
    """The weights file that a path means, or None where it means a run or its checkpoints."""
    if str(path) in ("", NAME):
        return SHIPPED
    return Path(path) if Path(path).suffix == ".npz" else None


def write_weights(path: str | Path, predictor: Predictor) -> None:
    """Write a Predictor's parameters, config and temperatures, numbers in 16 bits.

    Raises:
      UserError: a number is beyond 16 bits, or the file cannot be written.
    """
    config = predictor.config | {"init_from": ""}  # a path of the machine that trained it
    _write(path, predictor.state, config, **_temperatures(predictor))


def write_temperature(path: str | Path, **temperature: float) -> None:
    """Write a temperature, one of checkpoint.TEMPERATURES by its name, into a file of weights.

    Raises:
      UserError: the file is none, or cannot be written.
    """
    stored = read_weights(path)
    _write(path, stored.state, stored.config, **{**_temperatures(stored), **temperature})


def mean_of(predictors: Sequence[Predictor], shares: Sequence[float]) -> Predictor:
    """A Predictor of the mean parameters of several of one network, without temperatures.

    Weights of one training averaged so are a soup (Wortsman et al., ICML 2022).

    Raises:
      UserError: a share of each is wanted, adding up to 1, or one is another network.
    """
    if len(shares) != len(predictors) or abs(sum(shares) - 1) > 1e-6:
        raise UserError(
            f"shares {', '.join(map(str, shares))}: give one for each network, 1 in all"
        )
    first = predictors[0]
    if any(predictor.network != first.network for predictor in predictors):
        raise UserError("the mean is of several states of one network; these are of different ones")

    def mean(*leaves: Any) -> np.ndarray:
        return np.average(np.asarray(leaves, np.float64), 0, shares).astype(np.float32)

    state = jax.tree.map(mean, *(predictor.state for predictor in predictors))
    return dataclasses.replace(first, state=state, temperature=None, temperature_given=None)


def _temperatures(of: Predictor | Weights) -> dict[str, float | None]:
    return {"temperature": of.temperature, "temperature_given": of.temperature_given}


def _write(
    path: str | Path,
    state: Mapping[str, Any],
    config: Mapping[str, Any],
    **temperatures: float | None,
) -> None:
    arrays = {}
    for name, leaf in flat(state):
        with np.errstate(over="ignore"):  # what is too large is told below
            half = np.asarray(leaf, np.float16)
        if not np.isfinite(half).all():
            raise UserError(f"{path}: {name} has numbers that are not finite in 16 bits")
        arrays[name] = half
    about = {"config": config, **temperatures}
    arrays[_ABOUT] = np.array(json.dumps(about))
    with explained(path), writing(Path(path)) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # names are not its flags


def read_weights(path: str | Path) -> Weights:
    """Read a file of write_weights.

    Raises:
      UserError: it is not there, damaged, or another file.
    """
    remedy = "give a file that scripts/export_weights.py wrote, or get it again"
    try:
        arrays = read_arrays(path, _LARGEST)
        about = json.loads(str(arrays.pop(_ABOUT)))
        config = about["config"]
        if not isinstance(config, dict):
            raise ValueError("its config is no dictionary")
        temperatures = [
            None if value is None else float(value)
            for value in (about["temperature"], about.get("temperature_given"))
        ]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error}); {remedy}") from error
    except MALFORMED as error:
        raise UserError(f"{path}: is damaged, or no file of weights ({error}); {remedy}") from error
    for name, array in arrays.items():
        if array.dtype != np.float16 or not np.isfinite(array).all():
            raise UserError(f"{path}: {name} is not of finite 16-bit numbers; {remedy}")
        # jnp.asarray would compile something for each shape.
        arrays[name] = jax.device_put(array.astype(np.float32))
    state = {"params": {}, "batch_stats": {}} | nested(arrays)
    return Weights(state, config, *temperatures)


def fitted(
    path: str | Path, stored: Mapping[str, Any], shapes: Mapping[str, Any]
) -> dict[str, Any]:
    """`stored`, checked to be what `shapes`, a tree of arrays or of their shapes, has: every leaf, none more.

    Raises:
      UserError: it is not, with the first that differs.
    """
    have, want = (dict(flat(tree)) for tree in (stored, shapes))
    for name in sorted(have.keys() | want.keys()):
        there = tuple(have[name].shape) if name in have else "missing"
        wanted = tuple(want[name].shape) if name in want else "not of this network"
        if there != wanted:
            raise UserError(f"{path}: {name} is {there}, where {wanted} is wanted")
    return dict(stored)


def part_of(
    path: str | Path, stored: Mapping[str, Any], model: Mapping[str, Any]
) -> dict[str, Any]:
    """`model`, freshly initialised, with those of its parts that the weights have too.

    Raises:
      UserError: one of them is of another shape, or there is none.
    """
    parts = {
        kind: {name: part for name, part in stored[kind].items() if name in model[kind]}
        for kind in model
    }
    if not parts["params"]:
        raise UserError(f"{path}: has nothing that this network has")
    for kind, found in parts.items():
        fitted(path, found, {name: model[kind][name] for name in found})
    return {kind: {**model[kind], **parts[kind]} for kind in model}


def flat(tree: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """("params/backbone/...", leaf) of nested dictionaries."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}/")
        else:
            yield prefix + str(name), value


def nested(arrays: Mapping[str, Any]) -> dict[Any, Any]:
    """`flat` backwards: the dictionaries of leaves whose names have slashes."""
    tree: dict[Any, Any] = {}
    for name, leaf in arrays.items():
        *folders, last = name.split("/")
        place = tree
        for folder in folders:
            place = place.setdefault(_key(folder), {})
        place[_key(last)] = leaf
    return tree


def _key(name: str) -> str | int:
    """A key as it was: lists of modules have numbers."""
    return int(name) if name.isdecimal() else name
