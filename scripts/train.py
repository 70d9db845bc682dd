"""Train AMVUR: checkpoints, TensorBoard events, metrics.jsonl, a manifest and curves.html go to --workdir.

    python scripts/train.py --config=configs/synthetic_weak.py --workdir=runs/synthetic_weak
    python scripts/train.py --config=configs/ho3d_weak.py --config.data.root=DIR --dry_run
    srun --ntasks-per-node=1 python scripts/train.py --config=configs/ho3d_weak.py --workdir=DIR

Any field of the config can be set: --config.train.batch_size=8. Started again on the same workdir it
goes on from the newest checkpoint, on as many devices as there are. SIGTERM saves and ends it.
"""

import jax
from absl import flags
from ml_collections import config_flags

from amvur_jax.errors import UserError
from amvur_jax.files.places import place
from amvur_jax.runtime import cli, shared_flags
from amvur_jax.train import train
from amvur_jax.training.metrics import METRICS

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "The path of a config, or the name of one in configs/: ho3d_weak."
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, or its URL: gs://, s3://.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Compile, print parameters, FLOPs, memory and a batch's shapes, and stop."
)
_PROFILE = flags.DEFINE_integer(
    "profile", 0, "Write a trace of this step, counted from 1, to WORKDIR/profile.", lower_bound=0
)
_keep_compiled = shared_flags.compilation_cache()
_meet_processes = shared_flags.processes()
flags.mark_flags_as_required(["config"])


def main() -> None:
    if not (_WORKDIR.value or _DRY_RUN.value):
        raise UserError("--workdir=DIR is needed: the folder of the run")
    _keep_compiled()
    _meet_processes()
    train(_CONFIG.value, _WORKDIR.value or "", _DRY_RUN.value, _PROFILE.value)
    metrics = place(_WORKDIR.value or "") / METRICS
    measured = metrics.is_file() and metrics.stat().st_size
    if measured and not _DRY_RUN.value and jax.process_index() == 0:
        from amvur_jax.report import write_report  # matplotlib is not needed to begin

        print(f"{write_report([_WORKDIR.value])}: its curves", flush=True)


if __name__ == "__main__":
    cli.run(main)
