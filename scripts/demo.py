"""Hands in photographs by the shipped network, which then learns a synthetic set from 2D joints alone.

    python scripts/demo.py --output=runs/demo
    python scripts/demo.py --output=runs/scratch --from_scratch

Draws ten photographs, makes the data, trains, evaluates, predicts and prints what was learned, in minutes on
a CPU. --from_scratch starts from random weights with configs/synthetic_weak.py. Started again it goes on
where it stopped.
"""

from absl import flags
from amvur_jax.configs import synthetic_weak
from ml_collections import config_flags

from amvur_jax import demo
from amvur_jax.runtime import cli, shared_flags, startup

_CONFIG = config_flags.DEFINE_config_file("config", cli.config_path("demo"), "What to train.")
_FROM_SCRATCH = flags.DEFINE_bool(
    "from_scratch", False, "Train configs/synthetic_weak.py, from random weights."
)
_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder for everything.")
_keep_compiled = shared_flags.compilation_cache()

SCRATCH_FRAMES = 1200, 150  # of training and of evaluation


def main() -> None:
    _keep_compiled()
    startup.compile_small()
    if _FROM_SCRATCH.value:
        demo.run(synthetic_weak.get_config(), _OUTPUT.value, SCRATCH_FRAMES)
    else:
        demo.run(_CONFIG.value, _OUTPUT.value)


if __name__ == "__main__":
    cli.run(main)
