"""The network as pure functions on plain nested dictionaries, for jax.jit, optax and Orbax."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from amvur_jax.models.amvur import Amvur, AmvurConfig

# For jax.jit of what makes a fresh state: it runs once, and is as many loops as there are arrays.
COMPILE_QUICKLY = {"xla_backend_optimization_level": 0}


class Keys:
    """The keys that nnx.Rngs would give to a module that is being made, counted in Python.

    nnx counts in an array; under jax.jit each count makes JAX search all that was traced before.
    """

    def __init__(self, key: jax.Array) -> None:
        self.key, self.count = key, itertools.count()

    def params(self) -> jax.Array:
        """The next key."""
        return jax.random.fold_in(self.key, next(self.count))


@dataclasses.dataclass(frozen=True)
class Network:
    """`init` makes the state {"params": ..., "batch_stats": ...}; `apply` runs the network with it."""

    config: AmvurConfig

    @functools.cached_property
    def _abstract(self) -> Amvur:
        return nnx.eval_shape(lambda: Amvur(self.config, rngs=Keys(jax.random.key(0))))

    @functools.cached_property
    def graphdef(self) -> nnx.GraphDef[Amvur]:
        return nnx.split(self._abstract)[0]

    @property
    def shapes(self) -> dict[str, Any]:
        """The state's, jax.ShapeDtypeStructs in the place of arrays."""
        return split_state(self._abstract)

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Freshly initialised state from a random key; call it under jax.jit to be quick."""
        model = Amvur(self.config, rngs=Keys(key))
        return split_state(model)

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
