"""How a run is laid over its devices: batches shared out, parameters on all of them or in parts.

One mesh with one axis, "batch", over every device of every process; `jit` does the rest. Batch
statistics and losses are those of the whole batch.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from amvur_jax.errors import UserError

AXIS = "batch"
# A smaller array costs more to gather than to keep.
_SMALLEST_PART = 2**14


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over all devices, or over those given."""
    devices = jax.devices() if devices is None else devices
    # Written out: with Explicit axes the gathers of a shared batch fail in the backward pass.
    return jax.make_mesh((len(devices),), (AXIS,), axis_types=(AxisType.Auto,), devices=devices)


def over_batch(mesh: Mesh) -> NamedSharding:
    """Arrays whose first axis is shared among the devices."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def replicated(mesh: Mesh) -> NamedSharding:
    """Arrays that every device has."""
    return NamedSharding(mesh, PartitionSpec())


def of_state(shapes: dict, mesh: Mesh, shard_parameters: bool = False) -> dict:
    """A sharding for each leaf of a state: whole on every device, or its longest axis shared out.

    Args:
      shapes: tree of arrays or jax.ShapeDtypeStruct.
      mesh: of make_mesh.
      shard_parameters: share out what is large and can be divided; parameters, their average and the
        optimiser's moments have the same shapes, so that they lie alike.
    Returns:
      A tree of NamedSharding.
    """

    def of_leaf(leaf: jax.Array | jax.ShapeDtypeStruct) -> NamedSharding:
        axes = [i for i, length in enumerate(leaf.shape) if length % mesh.size == 0]
        if not shard_parameters or not axes or np.prod(leaf.shape) < _SMALLEST_PART:
            return replicated(mesh)
        longest = max(axes, key=lambda i: leaf.shape[i])
        return NamedSharding(mesh, PartitionSpec(*[None] * longest, AXIS))

    return jax.tree.map(of_leaf, shapes)


def with_shardings(shapes: dict, shardings: dict) -> dict:
    """`shapes` as jax.ShapeDtypeStruct that say where each leaf lies."""
    return jax.tree.map(
        lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings
    )


def check_batch(batch_size: int, accumulate: int, mesh: Mesh) -> None:
    """Raise a UserError where a batch cannot be shared out evenly."""
    parts = accumulate * mesh.size
    if accumulate < 1 or batch_size % parts:
        below = batch_size // parts * parts
        near = f"{below} or {below + parts}" if below else f"{parts}"
        raise UserError(
            f"config.train.batch_size: {batch_size} does not divide into {accumulate} part(s) "
            f"(config.train.accumulate) on {mesh.size} device(s); use {near}"
        )


def local_copy(tree: dict, mesh: Mesh) -> dict:
    """The tree on this process's first device, for what is not computed by all devices together.

    Every process has to call it.
    """
    everywhere = jax.tree.map(lambda _: replicated(mesh), tree)
    whole = tree
    if not all(x.sharding.is_fully_replicated for x in jax.tree.leaves(tree)):
        whole = jax.jit(lambda x: x, out_shardings=everywhere)(tree)
    return jax.tree.map(lambda x: x.addressable_data(0), whole)
