"""Hands of very many photographs and videos in 3D, as Parquet, by all cores and GPUs of a Ray cluster.

    python scripts/bulk.py --input=photos/ --output=out
    python scripts/bulk.py --input=paths.parquet --output=/shared/out --address=auto --resume
    python scripts/bulk.py --input=data/ho3d_v2 --output=out --workers=2

--input is a picture or a video, several with commas, a folder, a glob in quotes, - for a list on standard
input, a Parquet file with a column `picture` (or `path`), or a folder of TFDS records. Without --address a
cluster of this machine alone is started. docs/bulk.md says what is written, and what bounds a run.

A picture that cannot be read, or at which two workers died, is listed in the column `error` of pictures/, and
the exit code is 1. --resume does what is not done. Needs Ray: pip install '.[ray]'.
"""

import importlib.util
import os
import sys
from pathlib import Path

import jax
from absl import flags

from amvur_jax import weights
from amvur_jax.errors import UserError
from amvur_jax.hands.focal import parse_focal
from amvur_jax.runtime import cli, shared_flags, startup

_INPUT = flags.DEFINE_string(
    "input", None, "Pictures and videos: see above. A video is followed as a whole."
)
_OUTPUT = flags.DEFINE_string("output", None, "Folder for the results, one that all machines see.")
_ADDRESS = flags.DEFINE_string(
    "address", None, "Of a Ray cluster, auto for this machine's; else one is started."
)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Cores of a cluster that is started; default: all.", lower_bound=1
)
_FINDERS = flags.DEFINE_integer(
    "finders", None, "Processes that find hands; default: one a core.", lower_bound=1
)
_NETWORKS = flags.DEFINE_integer(
    "networks", None, "Processes with the network; default: one a GPU or machine.", lower_bound=1
)
_PARTITION = flags.DEFINE_integer(
    "partition", 64, "Pictures of each file that is written.", lower_bound=1
)
_TOGETHER = flags.DEFINE_integer(
    "together", None, "Hands that the network sees at once; default: 16, on GPUs 64.", lower_bound=1
)
_CHECKPOINT = shared_flags.checkpoint(weights.NAME)
_DETECT = flags.DEFINE_enum(
    "detect", "normal", ["normal", "thorough"], "Thorough looks for small hands too."
)
_DETECTOR = shared_flags.detector()
_FOCAL = shared_flags.focal()
_REFINE = shared_flags.refine()
_SMOOTH = shared_flags.smooth()
_RESUME = shared_flags.resume()
_OVERWRITE = shared_flags.overwrite()
_HAND = shared_flags.hand()
_keep_compiled = shared_flags.compilation_cache()
flags.mark_flags_as_required(["input", "output"])


def main() -> None:
    if not all(map(importlib.util.find_spec, ("ray", "pyarrow"))):
        raise UserError("bulk runs on Ray, which is not installed: pip install '.[ray]'")
    from amvur_jax.bulk.run import ON_GPU, bulk, check_output, failures, has_gpus, join_cluster
    from amvur_jax.bulk.sources import find_sources
    from amvur_jax.bulk.stages import Settings

    startup.collect_rarely()
    jax.config.update("jax_platforms", "cpu")  # the GPUs are the workers'
    sources = find_sources(_INPUT.value, sys.stdin if _INPUT.value == "-" else ())
    check_output(Path(_OUTPUT.value), _RESUME.value, _OVERWRITE.value)
    join_cluster(_ADDRESS.value, _WORKERS.value)
    together = _TOGETHER.value or (ON_GPU if has_gpus() else Settings.together)
    settings = Settings(
        output=Path(_OUTPUT.value).absolute(),
        checkpoint=_CHECKPOINT.value if _CHECKPOINT.value == weights.NAME else _file(_CHECKPOINT),
        hand=_file(_HAND),
        detector=_file(_DETECTOR),
        thorough=_DETECT.value == "thorough",
        refine=_REFINE.value,
        smooth=_SMOOTH.value,
        focal=None if _FOCAL.value is None else parse_focal(_FOCAL.value),
        together=together,
        xla_flags=os.environ.get("XLA_FLAGS", ""),
        compiled=flags.FLAGS.compilation_cache,
    )
    settings.load()  # so that what is wrong is said here, before anything is written
    summary = bulk(
        sources,
        settings,
        size=_PARTITION.value,
        finders=_FINDERS.value,
        networks=_NETWORKS.value,
        resume=_RESUME.value,
        overwrite=_OVERWRITE.value,
    )
    print(*summary.remarks, summary, sep="\n")
    failures(summary)


def _file(flag: flags.FlagHolder) -> str | None:
    """Of a flag the absolute path: workers have other working directories."""
    return str(Path(flag.value).absolute()) if flag.value else None


if __name__ == "__main__":
    cli.run(main)
