"""What happens before the first step: other processes are met, compiled code is found again, time is kept."""

import contextlib
import ctypes
import gc
import os
import pathlib
import platform
import time
from collections.abc import Iterator

import jax
from jax.experimental import multihost_utils

from amvur_jax.errors import UserError


def cache_folder() -> str:
    """Where compiled code is kept unless said otherwise: below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return str(pathlib.Path(base) / "amvur_jax" / "xla")


def tune_cpu() -> None:
    """Choose among XLA's libraries of products and convolutions on a CPU, before anything touches a device.

    With jax 0.10 the network is faster without YNN's fusions and convolutions, but XLA's own products with a
    transposed operand, as in every linear layer's gradient, take up to five times as long. With jax 0.11 and
    0.12 only YNN's convolutions are the slower, on x86. Their oneDNN is a few percent faster still, but XLA
    cannot write down a program that calls it: nothing would be kept for the next start
    (findings/onednn_convolutions_are_not_cached.sh). Other releases may not know the flags, and XLA ends the
    process at an unknown one; what XLA_FLAGS chooses of them is left alone.
    """
    release, chosen = jax.__version_info__[:2], os.environ.get("XLA_FLAGS", "")
    without = ""
    if release == (0, 10):
        without = "-dot,-eltwise,-reduce,-individual_convolution"
    elif release in ((0, 11), (0, 12)) and platform.machine().lower() in ("x86_64", "amd64"):
        without = "-individual_convolution"
    name = "xla_cpu_experimental_ynn_fusion_type"
    if without and name not in chosen:
        os.environ["XLA_FLAGS"] = " ".join([*chosen.split(), f"--{name}={without}"])


def compile_small() -> None:
    """Let XLA hold less while it compiles for a CPU, after tune_cpu and before anything touches a device.

    jax 0.10 makes a fusion a program of its own, 2,200 of a training step, and holds all until the last is
    compiled: 3.3 GiB at most, and 2.0 so (the demo's step, Xeon, two cores; it compiles 60 s then, 70 so).
    It is for the demo's programs alone: a long chain of sums of shifted arrays takes the older compiler
    without end.
    """
    flag, chosen = "--xla_cpu_use_fusion_emitters", os.environ.get("XLA_FLAGS", "")
    if jax.__version_info__[:2] == (0, 10) and flag not in chosen:
        os.environ["XLA_FLAGS"] = f"{chosen} {flag}=false".strip()


def return_memory() -> None:
    """Give the system back what compiling leaves to the C library, more than a GiB, where that is glibc."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def collect_rarely() -> None:
    """Look for garbage that holds itself after 50,000 new objects, not after each 700, for short runs.

    What JAX traces are many objects that stay: looking through them is a tenth of predict.py's start.
    """
    gc.set_threshold(50_000, *gc.get_threshold()[1:])


def keep_compiled(folder: str) -> None:
    """Keep what XLA compiles in a folder, where the next run finds it; "" for not.

    JAX_COMPILATION_CACHE_DIR, where it is set, has the last word.
    """
    if folder and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", folder)
    # What compiles in less than a second, too: there is much of it, and reading takes milliseconds.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)


def meet_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    distributed: bool = False,
) -> None:
    """Join the other processes of a run on several hosts, before anything else touches a device.

    Args:
      coordinator: HOST:PORT of process 0; None for what SLURM's environment says, where this is one of
        several tasks of a step, and else for a run of one process.
      processes: how many there are.
      process: which of them this is, from 0.
      distributed: there are others, and whatever environment jax.distributed knows of (SLURM, Open MPI,
        Kubernetes, Cloud TPU) says which.
    Raises:
      UserError: only a part was given, the environment names no others, or they did not come.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) != all(given):
        raise UserError("--coordinator, --processes and --process go together")
    if distributed and any(given):
        raise UserError("--distributed goes without --coordinator, --processes and --process")
    slurm = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    if not any(given) and not slurm and not distributed:
        return
    try:
        # Without coordinator and numbers JAX reads the environment's.
        jax.distributed.initialize(coordinator, processes, process)
        # Together now: on CPUs their connection is made at the first use, and not if one comes 30 s late,
        # as where one finds compiled code that another compiles.
        multihost_utils.sync_global_devices("met")
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        place = coordinator or (
            "the place that their environment names (where none does, give --coordinator, --processes and "
            "--process)"
        )
        count = processes or os.environ.get("SLURM_STEP_NUM_TASKS")
        which = f"the {count} processes" if count else "the processes"
        raise UserError(f"{which} did not meet at {place}: {reason}") from error


def process_age() -> float:
    """Seconds since this process was started, 0 where the system does not tell."""
    try:
        fields = pathlib.Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        up = float(pathlib.Path("/proc/uptime").read_text().split()[0])
        return max(up - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError):
        return 0.0


class Stopwatch:
    """Splits the time from the command to the first step; what came before it is `imports`."""

    def __init__(self) -> None:
        self.seconds = {"imports": process_age()}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part; one of a name that there is already adds to it."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def parts(self) -> str:
        """The parts and their seconds, in their order."""
        return ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())

    def __str__(self) -> str:
        return f"first step after {sum(self.seconds.values()):.1f} s: {self.parts()}"
