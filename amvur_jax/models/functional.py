"""The network as pure functions on plain nested dictionaries, for jax.jit, optax and Orbax."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from amvur_jax.models.amvur import Amvur, AmvurConfig
from amvur_jax.models.initial import Draws


@dataclasses.dataclass(frozen=True)
class Network:
    """`init` makes the state {"params": ..., "batch_stats": ...}; `apply` runs the network with it."""

    config: AmvurConfig

    @functools.cached_property
    def _abstract(self) -> Amvur:
        return nnx.eval_shape(lambda: Amvur(self.config, rngs=Draws(None)))

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef[Amvur]:
        return nnx.split(self._abstract)[0]

    @property
    def shapes(self) -> dict[str, Any]:
        """The state's, jax.ShapeDtypeStructs in the place of arrays."""
        return split_state(self._abstract)

    def init(self, seed: int) -> dict[str, Any]:
        """A fresh state {"params", "batch_stats"} of float32 NumPy arrays, from a seed of 0 or more.

        It is drawn on the host: nothing of it can be traced, under jax.jit it would be a constant.
        """
        return jax.tree.map(np.asarray, split_state(Amvur(self.config, rngs=Draws(seed))))

    def apply(
        self, state: Mapping[str, Any], *args: Any, method: str = "__call__", **kwargs: Any
    ) -> tuple[Any, dict[str, Any]]:
        """Call the network (or one of its methods) with `state`: (result, new batch statistics)."""
        merged = nnx.State(merge_dicts(state["params"], state["batch_stats"]))
        model = nnx.merge(self.graphdef, merged)
        result = getattr(model, method)(*args, **kwargs)
        return result, split_state(model)["batch_stats"]


def split_state(model: nnx.Module) -> dict[str, Any]:
    """{"params": ..., "batch_stats": ...} of a module, as plain nested dictionaries of arrays."""
    params, stats = nnx.state(model, nnx.Param), nnx.state(model, nnx.BatchStat)
    return {"params": nnx.to_pure_dict(params), "batch_stats": nnx.to_pure_dict(stats)}


def merge_dicts(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, Any]:
    """One nested dictionary of two that share no leaf."""
    merged = dict(a)
    for name, value in b.items():
        merged[name] = merge_dicts(merged[name], value) if name in merged else value
    return merged


def count_parameters(params: Any) -> int:
    """The number of trainable numbers."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))


def count_operations(lowered: jax.stages.Lowered) -> float:
    """Floating-point operations of a function, on all devices, from jax.jit(function).lower(...).

    They are counted before compilation: afterwards XLA leaves out what it gave to a library. Of a loop it
    counts one turn.
    """
    costs = lowered.cost_analysis()
    return costs.get("flops", float("nan"))  # type: ignore[union-attr]  # XLA's are a dict
