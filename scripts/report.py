"""Draw the curves of a training run, or of several side by side, on one page that opens offline.

    python scripts/report.py --run=runs/synthetic_weak
    python scripts/report.py --run=runs/a,runs/b --output=compared.html

Of a run that still trains too. train.py writes the page of its own run when it ends.
"""

from absl import flags

from amvur_jax.report import write_report
from amvur_jax.runtime import cli

_RUN = flags.DEFINE_list("run", None, "Folders of runs, --workdir of train.py; at most four.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "The page; default: curves.html in the first run's folder."
)
flags.mark_flags_as_required(["run"])


def main() -> None:
    print(write_report(_RUN.value, _OUTPUT.value))


if __name__ == "__main__":
    cli.run(main)
