"""What happens before the first step: other processes are met, compiled code is found again, time is kept."""

import contextlib
import os
import pathlib
import time

import jax

from amvur_jax.errors import UserError


def cache_folder():
    """Where compiled code is kept unless said otherwise: below the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return str(pathlib.Path(base) / "amvur_jax" / "xla")


def tune_cpu():
    """Leave XLA's YNN library only single products on a CPU, before anything touches a device.

    With jax 0.10 the network is faster without its fusions and convolutions; XLA's own products with a
    transposed operand, as in every linear layer's gradient, take up to five times as long. Other releases
    may not know the flag, and XLA ends the process at an unknown one; a choice of it in XLA_FLAGS is left
    alone.
    """
    chosen = os.environ.get("XLA_FLAGS", "")
    if jax.__version_info__[:2] == (0, 10) and "ynn_fusion_type" not in chosen:
        kinds = ("dot", "eltwise", "reduce", "individual_convolution")
        off = ",".join(f"-{kind}" for kind in kinds)
        os.environ["XLA_FLAGS"] = f"{chosen} --xla_cpu_experimental_ynn_fusion_type={off}".strip()


def keep_compiled(folder):
    """Keep what XLA compiles in a folder, where the next run finds it; "" for not.

    JAX_COMPILATION_CACHE_DIR, where it is set, has the last word.
    """
    if folder and not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        jax.config.update("jax_compilation_cache_dir", folder)


def meet_processes(coordinator=None, processes=None, process=None):
    """Join the other processes of a run on several hosts, before anything else touches a device.

    Args:
      coordinator: HOST:PORT of process 0; None for what SLURM's environment says, where this is one of
        several tasks of a step, and else for a run of one process.
      processes: how many there are.
      process: which of them this is, from 0.
    Raises:
      UserError: only a part was given, or the others did not come.
    """
    given = [value is not None for value in (coordinator, processes, process)]
    if any(given) != all(given):
        raise UserError("--coordinator, --processes and --process go together")
    slurm = int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) > 1
    if not any(given) and not slurm:
        return
    try:
        # Without coordinator and numbers JAX reads SLURM's.
        jax.distributed.initialize(coordinator, processes, process)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"the {processes or os.environ.get('SLURM_STEP_NUM_TASKS')} processes did not meet at "
            f"{coordinator or 'the first node of SLURM_STEP_NODELIST'}: {reason}"
        ) from error


def process_age():
    """Seconds since this process was started, 0 where the system does not tell."""
    try:
        fields = pathlib.Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()
        up = float(pathlib.Path("/proc/uptime").read_text().split()[0])
        return max(up - int(fields[19]) / os.sysconf("SC_CLK_TCK"), 0.0)
    except (OSError, ValueError, IndexError):
        return 0.0


class Stopwatch:
    """Splits the time from the command to the first step; what came before it is `imports`."""

    def __init__(self):
        self.seconds = {"imports": process_age()}

    @contextlib.contextmanager
    def part(self, name):
        """Time a part; one of a name that there is already adds to it."""
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def __str__(self):
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in self.seconds.items())
        return f"first step after {sum(self.seconds.values()):.1f} s: {parts}"
