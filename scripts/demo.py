"""AMVUR learns 3D hands from 2D joints alone, on synthetic pictures, in minutes on a CPU.

    python scripts/demo.py --output=runs/demo

Makes the data, trains configs/synthetic_weak.py, evaluates, predicts and prints what was learned.
Started again it goes on where it stopped.
"""

from absl import flags
from ml_collections import config_flags

from amvur_jax import demo
from amvur_jax.runtime import cli, startup

_CONFIG = config_flags.DEFINE_config_file(
    "config", cli.config_path("synthetic_weak"), "What to train."
)
_OUTPUT = flags.DEFINE_string("output", "runs/demo", "Folder for everything.")
_CACHE = flags.DEFINE_string(
    "compilation_cache",
    startup.cache_folder(),
    "Folder of compiled code for the next start; empty for none.",
)


def main() -> None:
    startup.keep_compiled(_CACHE.value)
    demo.run(_CONFIG.value, _OUTPUT.value)


if __name__ == "__main__":
    cli.run(main)
