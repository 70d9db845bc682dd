"""What a run would take, told before it is started."""

from collections.abc import Mapping
from typing import Any

import jax

from amvur_jax import checkpoint
from amvur_jax.models.functional import count_operations, count_parameters
from amvur_jax.runtime.startup import Stopwatch


def describe(
    train_step: jax.stages.Wrapped,
    shapes: dict,
    batch: Mapping[str, jax.Array],
    paint: int | None,
    mesh: jax.sharding.Mesh,
    stopwatch: Stopwatch,
) -> None:
    """Compile the step, and print parameters, operations, memory and a batch's shapes.

    Args:
      train_step: of amvur_jax.training.step.
      shapes: the state's jax.ShapeDtypeStructs.
      batch: a batch on the devices.
      paint: how many samples are rendered; None for all.
      mesh: of amvur_jax.runtime.devices.
      stopwatch: of the start, told too; takes the times of tracing and compiling.
    """
    with stopwatch.part("trace"):
        lowered = train_step.lower(shapes, jax.tree.map(checkpoint.as_shape, batch), paint)
    with stopwatch.part("compile"):
        compiled = lowered.compile()
    flops = count_operations(lowered) / mesh.size
    lines = {
        "devices": f"{mesh.size} x {jax.devices()[0].device_kind}, {jax.process_count()} process(es)",
        "parameters": f"{count_parameters(shapes['model']['params']):,}",
        "work a step": f"{flops / 1e9:.2f} GFLOP on each device",
        "memory": _memory(compiled.memory_analysis()),
        "start-up, s": stopwatch.parts(),
    }
    lines |= {f"batch {name}": f"{value.dtype}{list(value.shape)}" for name, value in batch.items()}
    width = max(map(len, lines))
    print("\n".join(f"{name:{width}s}  {text}" for name, text in lines.items()), flush=True)


def _memory(analysis: Any) -> str:
    """What XLA says of a compiled function's memory, where it says something."""
    if analysis is None:
        return "XLA does not tell it for this device"
    kept, temporary = (
        size / 2**20 for size in (analysis.argument_size_in_bytes, analysis.temp_size_in_bytes)
    )
    return f"{kept:.1f} MiB of state and batch, {temporary:.1f} MiB of temporaries on each device"
