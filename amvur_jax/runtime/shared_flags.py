"""Flags that several scripts have: defined here once, they belong to the script that calls."""

from collections.abc import Callable

from absl import flags

from amvur_jax.runtime import startup

flags.disclaim_key_flags()  # --help of a script shows them as its own


def compilation_cache() -> Callable[[], None]:
    """--compilation_cache; call the result after the flags are parsed, before anything is compiled."""
    folder = flags.DEFINE_string(
        "compilation_cache",
        startup.cache_folder(),
        "Folder of compiled code for the next start; empty for none.",
    )
    return lambda: startup.keep_compiled(folder.value)


def processes() -> Callable[[], None]:
    """--coordinator, --processes, --process; call the result before anything else touches a device."""
    coordinator = flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of process 0 of several; under srun it is found by itself."
    )
    count = flags.DEFINE_integer("processes", None, "How many processes there are.")
    number = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
    return lambda: startup.meet_processes(coordinator.value, count.value, number.value)
