"""Write a trained network as one small file, which predict, evaluate and train take for a checkpoint.

    python scripts/export_weights.py --checkpoint=runs/hand --output=hand.npz
    python scripts/export_weights.py --checkpoint=a.npz,runs/b,runs/c --shares=0.4,0.3,0.3 --output=hand.npz

The second writes the mean of several states of one network; scripts/evaluate.py --calibrate gives it
temperatures. For those who have none of this project's code there is export.py.
"""

from absl import flags

from amvur_jax import inference, weights
from amvur_jax.errors import UserError
from amvur_jax.runtime import cli

_CHECKPOINT = flags.DEFINE_list(
    "checkpoint",
    None,
    "A run's folder, RUN@best, one checkpoints/STEP of it, or a file of weights; several with commas.",
)
_SHARES = flags.DEFINE_list("shares", ["1"], "Of several: the share of each in the mean.")
_OUTPUT = flags.DEFINE_string("output", None, "The file, ending in .npz.")
flags.mark_flags_as_required(["checkpoint", "output"])


def main() -> None:
    if not _OUTPUT.value.endswith(".npz"):
        raise UserError(f"--output={_OUTPUT.value}: give a file that ends in .npz")
    try:
        shares = [float(share) for share in _SHARES.value]
    except ValueError:
        raise UserError(f"--shares={','.join(_SHARES.value)}: are no numbers") from None
    predictors = [inference.load(path) for path in _CHECKPOINT.value]
    alone = len(predictors) == 1 and shares == [1]  # and keeps its temperatures
    chosen = predictors[0] if alone else weights.mean_of(predictors, shares)
    weights.write_weights(_OUTPUT.value, chosen)
    print(_OUTPUT.value)


if __name__ == "__main__":
    cli.run(main)
