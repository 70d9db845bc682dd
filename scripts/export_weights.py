"""Write a trained network as one small file, which predict, evaluate and train take for a checkpoint.

python scripts/export_weights.py --checkpoint=runs/hand --output=hand.npz

For those who have none of this project's code there is export.py.
"""

from absl import flags

from amvur_jax import inference, weights
from amvur_jax.errors import UserError
from amvur_jax.runtime import cli

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "A run's folder, RUN@best, or one checkpoints/STEP of it."
)
_OUTPUT = flags.DEFINE_string("output", None, "The file, ending in .npz.")
flags.mark_flags_as_required(["checkpoint", "output"])


def main() -> None:
    if not _OUTPUT.value.endswith(".npz"):
        raise UserError(f"--output={_OUTPUT.value}: give a file that ends in .npz")
    weights.write_weights(_OUTPUT.value, inference.load(_CHECKPOINT.value))
    print(_OUTPUT.value)


if __name__ == "__main__":
    cli.run(main)
