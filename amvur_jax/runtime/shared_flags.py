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
    """--distributed or --coordinator, --processes, --process; call the result before a device is touched."""
    distributed = flags.DEFINE_bool(
        "distributed",
        False,
        "One of several processes, which Kubernetes, Open MPI or a Cloud TPU name; srun's need no flag.",
    )
    coordinator = flags.DEFINE_string(
        "coordinator", None, "HOST:PORT of process 0 of several, where nothing names it."
    )
    count = flags.DEFINE_integer("processes", None, "How many processes there are.")
    number = flags.DEFINE_integer("process", None, "Which of them this is, from 0.")
    return lambda: startup.meet_processes(
        coordinator.value, count.value, number.value, distributed.value
    )


def checkpoint(default: str) -> flags.FlagHolder:
    """--checkpoint: the network."""
    return flags.DEFINE_string(
        "checkpoint",
        default,
        "A run's folder, RUN@best, one checkpoints/STEP of it, or a file of weights.",
    )


def hand() -> flags.FlagHolder:
    """--hand: path of the hand model of --checkpoint, where it has moved."""
    return flags.DEFINE_string(
        "hand", None, "The hand model, where it is no longer where the checkpoint says."
    )


def detector() -> flags.FlagHolder:
    """--detector: path of another detector."""
    return flags.DEFINE_string("detector", None, "A newer hand_landmarker.task of MediaPipe.")


def focal() -> flags.FlagHolder:
    """--focal: text for `hands.focal.parse_focal`."""
    return flags.DEFINE_string(
        "focal", None, "Focal length of all pictures: px, or such as 26mm on 35 mm film."
    )


def refine() -> flags.FlagHolder:
    """--refine: whether hands are moved to the landmarks."""
    return flags.DEFINE_bool(
        "refine",
        True,
        "Move the hands to where the detector has their joints; False: the network alone.",
    )


def smooth() -> flags.FlagHolder:
    """--smooth: whether the hands of a video are smoothed."""
    return flags.DEFINE_bool("smooth", True, "Smooth the hands of a video.")


def resume() -> flags.FlagHolder:
    """--resume: go on with what is in the output folder."""
    return flags.DEFINE_bool("resume", False, "Go on in an output folder: leave out what is done.")


def overwrite() -> flags.FlagHolder:
    """--overwrite: the output folder's results are replaced."""
    return flags.DEFINE_bool("overwrite", False, "Start anew in an output folder.")
