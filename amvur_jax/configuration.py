"""From an ml_collections config, or the one stored with a checkpoint, to the parts that it describes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ml_collections import ConfigDict

import mano_jax
from amvur_jax.configs import default
from amvur_jax.data.augment import Augmentation
from amvur_jax.errors import UserError
from amvur_jax.models.amvur import AmvurConfig
from amvur_jax.models.functional import Network
from amvur_jax.models.hrnet import HRNetSize
from amvur_jax.training.objective import LossConfig

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from amvur_jax.data.mixture import Mixture

_Kind = TypeVar("_Kind", bound="DataclassInstance")


def check(config: ConfigDict | Mapping[str, Any]) -> None:
    """Refuse a config that would train something else than what was meant, or nothing.

    Args:
      config: a whole one, ConfigDict or nested dictionary, as amvur_jax.configs.default makes it.
    Raises:
      UserError: a field is missing, unknown, or not what default.LIMITS and default.AGREEMENTS allow;
        field, value and choices are named.
    """
    config = ConfigDict(to_dict(config))
    fields, known = _flat(config), _flat(default.get_config())
    for name in known.keys() | fields.keys():
        if name not in fields:
            raise UserError(f"config.{name}: is missing; start from configs/default.py")
        if name not in known:
            raise UserError(
                f"config.{name}: there is no such field; configs/default.py has all of them"
            )
    for name, limits in default.LIMITS.items():
        _check_field(f"config.{name}", fields[name], known[name], limits)
    for name, agree, remedy in default.AGREEMENTS:
        if not agree(config):
            raise UserError(f"config.{name}: {fields[name]!r} does not fit: {remedy}")


def settled(config: ConfigDict, data: Mixture) -> ConfigDict:
    """A copy of a config in which that is said which "auto" leaves to the data set: model.fingertips."""
    # Slow to import, and a trained network needs none.
    from amvur_jax.data.layouts import fingertips_of

    config = config.copy_and_resolve_references()
    if config.model.fingertips == "auto":
        config.model.fingertips = fingertips_of(data.datasets)
    return config


def _check_field(name: str, value: Any, usual: Any, limits: tuple) -> None:
    if isinstance(limits[0], str):
        if value not in limits:
            raise UserError(f"{name}: {value!r} is not known; use {_either(limits)}")
        return
    low, high = limits
    several = isinstance(usual, tuple)
    values = value if several else (value,)
    if several and len(value) != len(usual):
        raise UserError(f"{name}: {value!r} has {len(value)} numbers; give {len(usual)}")
    for number in values:
        if number is None and usual is None:
            continue  # a placeholder that is not filled
        if not (math.isfinite(number) and low <= number <= high):
            wanted = f"from {low:g}" + (f" to {high:g}" if high < math.inf else " on")
            wanted = "that are finite" if low == -math.inf else wanted
            raise UserError(f"{name}: {value!r} is out of range; give numbers {wanted}")


def _either(words: Iterable[str]) -> str:
    return " or ".join(repr(word) for word in words)


def _flat(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    """{"train.steps": value} of nested ConfigDicts."""
    fields: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            fields |= _flat(value, f"{prefix}{name}.")
        else:
            fields[prefix + name] = value
    return fields


def build(kind: type[_Kind], fields: Mapping[str, Any], where: str) -> _Kind:
    """A dataclass of `kind` from a dictionary; unknown fields are a UserError that names them."""
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise UserError(f"{where}: unknown field(s) {', '.join(unknown)}; known: {sorted(known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def to_dict(config: ConfigDict | Mapping[str, Any]) -> dict[str, Any]:
    """A nested dictionary, ready for JSON."""
    return config.to_dict() if isinstance(config, ConfigDict) else dict(config)


def network(config: ConfigDict | Mapping[str, Any]) -> Network:
    """The Network of config["model"]."""
    model = dict(to_dict(config)["model"])
    model["backbone"] = build(HRNetSize, model.get("backbone", {}), "config.model.backbone")
    return Network(build(AmvurConfig, model, "config.model"))


def loss(config: ConfigDict | Mapping[str, Any]) -> LossConfig:
    """The LossConfig of config["loss"]."""
    return build(LossConfig, to_dict(config)["loss"], "config.loss")


def augmentation(config: ConfigDict | Mapping[str, Any]) -> Augmentation:
    """The Augmentation of config["data"]."""
    data = to_dict(config)["data"]
    return build(
        Augmentation, {"jitter_px": data["jitter_px"], **data["augment"]}, "config.data.augment"
    )


def hand(config: ConfigDict | Mapping[str, Any]) -> mano_jax.HandModel:
    """The hand model of config["hand"]."""
    return mano_jax.load_hand(to_dict(config)["hand"] or None, side="right")
