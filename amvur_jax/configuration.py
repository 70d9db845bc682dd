"""From an ml_collections config, or the one stored with a checkpoint, to the parts that it describes."""

import dataclasses

from ml_collections import ConfigDict

import mano_jax
from amvur_jax.data.augment import Augmentation
from amvur_jax.errors import UserError
from amvur_jax.models.amvur import AmvurConfig
from amvur_jax.models.functional import Network
from amvur_jax.models.hrnet import HRNetSize
from amvur_jax.training.objective import TERMS, LossConfig


def build(kind, fields, where):
    """A dataclass of `kind` from a dictionary; unknown fields are a UserError that names them."""
    known = {f.name for f in dataclasses.fields(kind)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise UserError(f"{where}: unknown field(s) {', '.join(unknown)}; known: {sorted(known)}")
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def to_dict(config):
    """A nested dictionary, ready for JSON."""
    return config.to_dict() if isinstance(config, ConfigDict) else dict(config)


def network(config):
    """The Network of config["model"]."""
    model = dict(to_dict(config)["model"])
    model["backbone"] = build(HRNetSize, model.get("backbone", {}), "config.model.backbone")
    built = build(AmvurConfig, model, "config.model")
    if built.camera not in ("perspective", "weak_perspective"):
        raise UserError(
            f"config.model.camera: {built.camera!r} is not known; use 'perspective' or "
            "'weak_perspective'"
        )
    if built.dtype not in ("float32", "bfloat16"):
        raise UserError(
            f"config.model.dtype: {built.dtype!r} is not known; use 'float32' or 'bfloat16'"
        )
    if built.image_size % 32:
        raise UserError(f"config.model.image_size: {built.image_size} is not a multiple of 32")
    return Network(built)


def loss(config):
    """The LossConfig of config["loss"]."""
    built = build(LossConfig, to_dict(config)["loss"], "config.loss")
    if built.mode not in TERMS:
        raise UserError(f"config.loss.mode: {built.mode!r} is not known; use {' or '.join(TERMS)}")
    if built.data_term not in ("sample", "mu"):
        raise UserError(f"config.loss.data_term: {built.data_term!r}; use 'sample' or 'mu'")
    camera = to_dict(config)["model"]["camera"]
    expected = "perspective" if built.mode == "weak" else "weak_perspective"
    if camera != expected:
        raise UserError(f"config.loss.mode {built.mode!r} needs config.model.camera {expected!r}")
    if built.nll and not to_dict(config)["model"].get("spread_head"):
        raise UserError("config.loss.nll trains the spread head: set config.model.spread_head=True")
    return built


def augmentation(config):
    """The Augmentation of config["data"]."""
    data = to_dict(config)["data"]
    fields = {"jitter_px": data["jitter_px"], **data["augment"]}
    built = build(Augmentation, fields, "config.data.augment")
    built.check("config.data.augment")
    return built


def hand(config):
    """The hand model of config["hand"]."""
    return mano_jax.load_hand(to_dict(config)["hand"] or None, side="right")
