"""Measure a part of the project; rows are printed as JSON lines and, with --output, kept in a file.

    python scripts/benchmark.py --suite=render
    python scripts/benchmark.py --suite=score --quick
    python scripts/benchmark.py --suite=weights --photos=DIR --data_root=data/wide
    python scripts/benchmark.py --suite=predict --baseline=../before --mediapipe=../mediapipe/bin/python
    python scripts/benchmark.py --suite=learning --runs=runs/learning --plot=learning.png

Figures that are compared are measured in turns in one process. docs/benchmarks.md holds what was
measured, with the command and the machine.
"""

import importlib
import inspect
import itertools
import json
import pathlib
import sys

from absl import flags

from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_whole, writing
from amvur_jax.runtime import cli

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed
from benchmarks import measure

SUITES = tuple(
    sorted(
        path.stem
        for path in pathlib.Path(measure.__file__).parent.glob("*.py")
        if path.stem
        not in (
            "__init__",
            "fuzz_cases",
            "fuzz_changes",
            "landmarker",
            "measure",
            "soak_run",
            "torch_network",
            "workload",
        )
    )
)

_SUITE = flags.DEFINE_enum("suite", None, SUITES, "What to measure.")
_QUICK = flags.DEFINE_bool("quick", False, "Small sizes and few repeats: does it run?")
_ONLY = flags.DEFINE_enum(
    "only",
    None,
    ["small", "w64", "shipped"],
    "Network to measure (suites train, inference; the shipped one: inference).",
)
_OUTPUT = flags.DEFINE_string("output", None, "File for the rows, one JSON object a line.")
_PLOT = flags.DEFINE_string(
    "plot", None, "File for a picture of the rows (suites render, learning)."
)
_SAMPLES = flags.DEFINE_integer(
    "samples",
    None,
    "Training samples of each run (suites learning, soak), or tries of each kind (fuzz).",
    lower_bound=1,
)
_RUNS = flags.DEFINE_string(
    "runs",
    None,
    "Folder of the runs, to go on with (suite learning) or made anew (soak), or for bad files (fuzz).",
)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "The network; default: the shipped one (suites weights, video)."
)
_PHOTOS = flags.DEFINE_string(
    "photos", None, "Folder of photographs with hands.json (suites weights, detect)."
)
_DATA_ROOT = flags.DEFINE_string(
    "data_root", None, "Data set with ground truth (suites weights, detect)."
)
_BASELINE = flags.DEFINE_string(
    "baseline", None, "Checkout of an older build to compare with (suite predict)."
)
_MEDIAPIPE = flags.DEFINE_string(
    "mediapipe", None, "Python of an environment with mediapipe (suite predict)."
)
flags.mark_flags_as_required(["suite"])


def main() -> None:
    suite = importlib.import_module(f"benchmarks.{_SUITE.value}")
    if _PLOT.value and not hasattr(suite, "plot"):
        raise UserError(f"--plot: the suite {_SUITE.value} has no picture; leave it out")
    own = (_ONLY, _SAMPLES, _RUNS, _CHECKPOINT, _PHOTOS, _DATA_ROOT, _BASELINE, _MEDIAPIPE)
    given = {flag.name: flag.value for flag in own if flag.value is not None}
    for name in given.keys() - inspect.signature(suite.run).parameters.keys():
        raise UserError(f"--{name}: the suite {_SUITE.value} does not take it; leave it out")
    rows = []
    for row in itertools.chain([measure.machine()], suite.run(quick=_QUICK.value, **given)):
        row = {"suite": _SUITE.value} | row
        rows.append(row)
        print(json.dumps(row), flush=True)
    path = None
    try:
        if path := _OUTPUT.value:
            write_whole(pathlib.Path(path), "".join(json.dumps(r) + "\n" for r in rows).encode())
        if path := _PLOT.value:
            with writing(pathlib.Path(path)) as file:
                suite.plot(rows, file, pathlib.Path(path).suffix[1:] or "png")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


if __name__ == "__main__":
    cli.run(main)
