"""A state as inference on a CPU wants it: what is the same for all calls is computed once."""

import re
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from amvur_jax.models.cpu.convolution import winograd_kernels

# Kernels of stride 1 on the map of a branch, 0 where the path names none.
_ON_MAPS = re.compile(
    r"(?:stage1/block\d+/conv2|transition1/branch0|increase/branch(\d)/conv2"
    r"|stage\d/module\d+/branches/branch(\d)/block\d+/conv\d)/conv/kernel"
)
_MANY_CHANNELS = 64
# Sides of maps from which on two, and four, results of a tile's side are quicker.
_SMALL, _LARGE = 7, 28


def ready(state: Mapping[str, Any], image_size: int) -> dict[str, Any]:
    """The state with the backbone's 3x3 kernels as `convolution.winograd` takes them, where that is quicker.

    For inference in float32 on one CPU device: it has no gradient, is fit for this size of pictures, and is
    larger than the state.

    Args:
      state: {"params", "batch_stats"} of a network.
      image_size: the crop's side, px.
    """
    params = dict(state["params"])
    params["backbone"] = _with_kernels(params["backbone"], "", image_size / 4)
    return {**state, "params": params}


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
    return jnp.asarray(winograd_kernels(np.asarray(kernel), 4 if side >= _LARGE else 2))
