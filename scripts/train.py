"""Train AMVUR: checkpoints, TensorBoard events and the config go to --workdir.

    python scripts/train.py --config=configs/synthetic_weak.py --workdir=runs/synthetic_weak

Any field of the config can be set: --config.train.batch_size=8. Started again on the same workdir it
goes on from the newest checkpoint.
"""

from absl import flags
from ml_collections import config_flags

from amvur_jax import cli
from amvur_jax.train import train

_CONFIG = config_flags.DEFINE_config_file("config", None, "One of configs/*.py.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.")
flags.mark_flags_as_required(["config", "workdir"])


def main():
    train(_CONFIG.value, _WORKDIR.value)


if __name__ == "__main__":
    cli.run(main)
