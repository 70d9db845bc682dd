"""A state as inference on a CPU wants it: what is the same for all calls is computed once."""

import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from amvur_jax.models.cpu.backend import on_one_cpu
from amvur_jax.models.cpu.convolution import winograd_kernels
from amvur_jax.models.layers import EPSILON

# Kernels of stride 1 on the map of a branch, 0 where the path names none.
_ON_MAPS = re.compile(
    r"(?:stage1/block\d+/conv2|transition1/branch0|increase/branch(\d)/conv2"
    r"|stage\d/module\d+/branches/branch(\d)/block\d+/conv\d)/conv/kernel"
)
_MANY_CHANNELS = 64
# Sides of maps from which on two, and four, results of a tile's side are quicker.
_SMALL, _LARGE = 7, 28
_ATTENTION = "embed", "cross_attention", "layers"  # what of a TokenBlock computes in config.dtype
_LARGEST_PART = 2**23  # numbers, 32 MiB


def ready(state: Mapping[str, Any], image_size: int, dtype: str = "float32") -> dict[str, Any]:
    """The state with each BatchNorm in its kernel, 3x3 kernels as `convolution.winograd` wants them.

    For inference on one CPU device: it has no gradient, is fit for this size of pictures, and may be larger
    than the state. In bfloat16 kernels are rounded once and not at each call: HRNet-W64, a picture, takes 106
    ms in place of 308 (EPYC with AVX512-BF16, jax 0.12), with `winograd`.

    Args:
      state: {"params", "batch_stats"} of a network.
      image_size: the crop's side, px.
      dtype: of backbone and attention, whose kernels are then of this type.
    """
    params, stats = dict(state["params"]), dict(state["batch_stats"])
    folded, stats["backbone"] = _folded(params["backbone"], stats["backbone"])
    params["backbone"] = _with_kernels(folded, "", image_size / 4)
    if dtype != "float32":
        for name, part in params.items():
            if name == "backbone":
                params[name] = _in_type(part, dtype)
            elif name == "texture" or name.startswith("encoder"):
                params[name] = part | {key: _in_type(part[key], dtype) for key in _ATTENTION}
    return jax.device_put({"params": params, "batch_stats": stats})


def is_a_part(given: Any) -> bool:
    """Whether these arrays should be constants of a program for one CPU device, and not its arguments.

    jax takes a millisecond to pass 400 arrays, as long as the shipped network computes: 3.9 to 3.0 ms (jax
    0.12) a picture. Of a large network's programs each would be as large.
    """
    return on_one_cpu() and sum(x.size for x in jax.tree.leaves(given)) < _LARGEST_PART


def _folded(
    params: Mapping[str, Any], stats: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters and statistics of modules, each BatchNorm in the kernel before it: `BatchNorm.folded`."""
    if set(stats) == {"norm"}:
        arrays = {**params["conv"], **params["norm"], **stats["norm"]}
        arrays = {name: np.asarray(value, np.float64) for name, value in arrays.items()}
        gain = arrays["scale"] / np.sqrt(arrays["var"] + EPSILON)
        shift = arrays["bias"] - arrays["mean"] * gain
        conv = {
            name: np.float32(np.asarray(value) * gain) for name, value in params["conv"].items()
        }
        none = np.zeros(0, np.float32)
        norm = {"scale": none, "bias": np.float32(shift)}
        return {"conv": conv, "norm": norm}, {"norm": {"mean": none, "var": none}}
    pairs = {name: _folded(params[name], value) for name, value in stats.items()}
    folded, rest = ({name: pair[i] for name, pair in pairs.items()} for i in range(2))
    return folded, rest


def _in_type(tree: Mapping[str, Any], dtype: str) -> Any:
    """The parameters with kernels of this type, as the layers would make them at each call."""

    def kept(path: jax.tree_util.KeyPath, x: Any) -> Any:
        return jnp.asarray(x, dtype) if path[-1].key == "kernel" else x

    return jax.tree_util.tree_map_with_path(kept, tree)


def _with_kernels(tree: Mapping[str, Any], path: str, side: float) -> dict[str, Any]:
    changed = {}
    for name, value in tree.items():
        where = f"{path}/{name}" if path else name
        if isinstance(value, Mapping):
            changed[name] = _with_kernels(value, where, side)
        elif match := _ON_MAPS.fullmatch(where):
            changed[name] = _kernel(value, side / 2 ** int(match[1] or match[2] or 0))
        else:
            changed[name] = value
    return changed


def _kernel(kernel: Any, side: float) -> Any:
    if kernel.shape[:2] != (3, 3) or min(kernel.shape[2:]) < _MANY_CHANNELS or side < _SMALL:
        return kernel
    return winograd_kernels(kernel, 4 if side >= _LARGE else 2)
