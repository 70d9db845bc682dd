"""Published PyTorch weights to a checkpoint of ours; the only place that imports torch."""

import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import nnx
from flax.traverse_util import flatten_dict, unflatten_dict

import mano_jax
from amvur_jax import checkpoint, configuration
from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_json
from amvur_jax.models.functional import split_state
from amvur_jax.models.hrnet import HRNet, HRNetSize
from amvur_jax.models.initial import Draws
from amvur_jax.published.names import convert_entry, published_name

SHOWN = 12  # names that an error lists of each kind


def read_state_dict(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """{name: float32 array} of a file of torch.save, zipped or of the old kind, tensors only.

    Raises:
      UserError: torch is not there, or the file is not a state dict.
    """
    try:
        import torch
    except ImportError:
        raise UserError(
            "converting needs PyTorch, which is not installed: pip install -e '.[convert]'"
        ) from None
    if not pathlib.Path(path).is_file():
        raise UserError(f"--input={path}: no such file")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or hostile file makes the reader raise
        reason = " ".join(str(error).split())[:150]
        raise UserError(
            f"{path}: cannot be read as a state dict ({type(error).__name__}: {reason}). A file "
            "with pickled classes, as the published model.bin is, is refused, since loading it "
            "runs any code in it: give state_dict.bin, or for HRNet the official .pth"
        ) from None
    named = isinstance(content, dict) and all(isinstance(key, str) for key in content)
    if not named or not content or not all(torch.is_tensor(t) for t in content.values()):
        raise UserError(
            f"{path}: holds something else than named tensors; give the state dict itself, what "
            "torch.save(model.state_dict(), path) writes"
        )
    return {key: tensor.to(torch.float32).numpy() for key, tensor in content.items()}


def tensor(tensors: Mapping[str, np.ndarray], key: str) -> np.ndarray:
    """One tensor; UserError where it is missing, for the network's sizes are read off it."""
    if key not in tensors:
        raise UserError(f"the input has no tensor {key}: it is no state dict of this network")
    return tensors[key]


def count(tensors: Iterable[str], pattern: str) -> int:
    """One more than the highest number in the first group of a pattern of names."""
    found = [int(match[1]) for match in map(re.compile(pattern).match, tensors) if match]
    return max(found, default=-1) + 1


def hrnet_size(tensors: Mapping[str, np.ndarray]) -> HRNetSize:
    """The HRNetSize of a state dict with `backbone.` names, of any width and depth."""

    def width(key: str) -> int:
        return len(tensor(tensors, f"backbone.{key}.weight"))

    stages = (2, 3, 4)
    return HRNetSize(
        width=width("transition1.0.0"),
        modules=tuple(count(tensors, rf"backbone\.stage{s}\.(\d+)\.") for s in stages),
        blocks=tuple(
            count(tensors, rf"backbone\.stage{s}\.0\.branches\.0\.(\d+)\.") for s in stages
        ),
        stage1_blocks=count(tensors, r"backbone\.layer1\.(\d+)\."),
        stage1_planes=width("layer1.0.conv1"),
        head_planes=tuple(width(f"incre_modules.{i}.0.conv1") for i in range(4)),
        features=width("final_layer.0"),
    )


def amvur_fields(tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of config.model that a state dict of the whole network shows.

    The numbers of attention heads do not show in it: the published ones, 4 and 12, stay.
    """
    blocks = [f"trans_encoder.{i}" for i in range(3)]
    layer = r"\.bert\.encoder\.layer\.(\d+)\."
    embeddings = [len(tensor(tensors, f"{b}.bert.img_embedding.weight")) for b in blocks]
    return {
        "published_quirks": True,
        "fingertips": "amvur",
        "pose_components": len(tensor(tensors, "pose_projection2_.weight")) // 2 - 10,
        "hidden": tuple(embeddings),
        "outputs": tuple(len(tensor(tensors, f"{b}.cls_head.weight")) for b in blocks),
        "layers": count(tensors, rf"trans_encoder\.0{layer}"),
        "texture_hidden": len(tensor(tensors, "trans_texture.bert.img_embedding.weight")),
        "texture_layers": count(tensors, rf"trans_texture{layer}"),
    }


def fill(tensors: Mapping[str, np.ndarray], shapes: Mapping[str, Any]) -> dict[str, Any]:
    """The state that `shapes` describes, from a state dict.

    Args:
      tensors: {published name: array}.
      shapes: {"params": ..., "batch_stats": ...}, nested dictionaries of jax.ShapeDtypeStruct.
    Raises:
      UserError: lists every tensor that is left over, missing or of another shape.
    """
    expected = flatten_dict(shapes)
    filled, left_over, misfits = {}, [], []
    for key, array in tensors.items():
        entry = convert_entry(key, array)
        if entry is None:
            continue
        path, array = entry
        if path not in expected or path in filled:
            left_over.append(key)
            continue
        filled[path] = array
        if array.shape != expected[path].shape:
            misfits.append(f"{key}: {array.shape} in our axes, expected {expected[path].shape}")
        elif not np.isfinite(array).all():
            misfits.append(f"{key}: holds NaN or infinity")
    missing = [
        f"{published_name(path)} (here {'/'.join(path)})" for path in expected if path not in filled
    ]
    problems = [
        f"{len(names)} {what}:\n  " + "\n  ".join(names[:SHOWN] + ["..."] * (len(names) > SHOWN))
        for what, names in (
            ("tensors of the input have no place in the network", left_over),
            ("tensors of the network are not in the input", missing),
            ("tensors do not fit", misfits),
        )
        if names
    ]
    if problems:
        raise UserError(
            "\n".join(["the input does not fill the network, nothing is written", *problems])
        )
    return unflatten_dict(filled)


def convert_hrnet(
    tensors: Mapping[str, np.ndarray], config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An HRNet classifier's state dict -> state of the backbone alone, config with its size."""
    tensors = {f"backbone.{key.removeprefix('backbone.')}": array for key, array in tensors.items()}
    size = hrnet_size(tensors)
    backbone = nnx.eval_shape(lambda: split_state(HRNet(size, rngs=Draws(None))))
    state = fill(tensors, {part: {"backbone": leaves} for part, leaves in backbone.items()})
    return state, config | {"model": config["model"] | {"backbone": vars(size)}}


def convert_amvur(
    tensors: Mapping[str, np.ndarray], config: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A state dict of the whole published network -> its state, config with sizes and quirks."""
    fields = amvur_fields(tensors) | {"backbone": vars(hrnet_size(tensors))}
    config = config | {"model": config["model"] | fields}
    network = configuration.network(config)
    return fill(tensors, network.shapes), config


KINDS = {"hrnet": convert_hrnet, "amvur": convert_amvur}


def convert(
    kind: str,
    path: str | pathlib.Path,
    output: str | pathlib.Path,
    config: dict[str, Any],
    mano: str | pathlib.Path | None = None,
    downsampling: str | pathlib.Path | None = None,
) -> dict[str, Any]:
    """Convert a file of PyTorch weights into a checkpoint that train, evaluate and predict restore.

    Args:
      kind: "hrnet", for config.init_from, or "amvur".
      path: the state dict's file.
      output: the run's folder to make.
      config: nested dictionary, the config that goes with it apart from the sizes.
      mano: MANO_RIGHT.pkl, copied to output/hand.npz; None for the embedded hand.
      downsampling: the published mano_downsampling.npz, which the weights were trained with.
    Returns:
      The checkpoint's config.
    Raises:
      UserError: the file is not such a state dict, or the folder holds a checkpoint already.
    """
    output = pathlib.Path(output)
    if (output / "checkpoints").exists():
        raise UserError(f"--output={output}: holds checkpoints already; choose another folder")
    state, config = KINDS[kind](read_state_dict(path), config)
    if mano:
        hand = mano_jax.load_hand(mano, downsampling=downsampling)
        output.mkdir(parents=True, exist_ok=True)
        mano_jax.save_hand(output / "hand.npz", hand)
        config = config | {"hand": str((output / "hand.npz").absolute())}
    checkpoint.save_model(output, state, config)
    write_json(output / "config.json", config)
    return config
