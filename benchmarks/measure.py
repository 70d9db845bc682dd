"""Timing side by side, memory by XLA's own analysis, and the machine that it was measured on."""

import importlib.metadata
import os
import pathlib
import platform
import statistics
import time

import jax

from amvur_jax.models.functional import count_operations
from amvur_jax.runtime.startup import return_memory

LIBRARIES = (
    "jax",
    "flax",
    "grain",
    "numpy",
    "opencv-python-headless",
    "torch",
    "timm",
    "jax2onnx",
    "onnxruntime",
)


def machine():
    """One row: what the figures were measured on, and with which versions."""
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    device = jax.devices()[0]
    return {
        "case": "machine",
        "device": device.device_kind if device.platform != "cpu" else _processor(),
        "devices": len(jax.devices()),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }


def _processor():
    """The processor's name, where the system tells."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def median_seconds(functions, turns=3):
    """Median seconds of each function; they take turns, so that a busy machine slows all alike.

    In its turn a function runs uncounted for a fifth of a second, for the threads of the one before spin on
    for a while and its data fill the caches, and then three times.

    Args:
      functions: {name: function of no arguments}; what it returns is waited for.
      turns: of each function.
    Returns:
      {name: seconds}.
    """
    seconds = {name: [] for name in functions}
    for _ in range(turns):
        for name, function in functions.items():
            end = time.perf_counter() + 0.2
            while time.perf_counter() < end:
                jax.block_until_ready(function())
            for _ in range(3):
                start = time.perf_counter()
                jax.block_until_ready(function())
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def compile_jitted(function, *args, **kwargs):
    """Compile a jitted function for these arguments.

    Returns:
      the compiled function, its operations, the seconds it took, and the MiB of temporaries that XLA plans.
    """
    start = time.perf_counter()
    lowered = function.lower(*args, **kwargs)
    compiled = lowered.compile()
    seconds = time.perf_counter() - start
    return_memory()  # a GiB of HRNet-W64's
    temporaries = compiled.memory_analysis().temp_size_in_bytes / 2**20
    return compiled, count_operations(lowered), seconds, temporaries
