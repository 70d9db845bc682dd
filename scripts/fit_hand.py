"""Fits the embedded hand's pose, shape and camera to silhouettes and a textured picture, by gradients.

    python scripts/fit_hand.py --output=runs/fit

From random starts within 30 degrees of a hand that is known; prints how near each came, writes
fit.jpg (before, during, after, error curves) and exits with 1 where fewer than nine in ten converged.
"""

import pathlib

import numpy as np
import tqdm
from absl import flags

from amvur_jax.errors import UserError
from amvur_jax.files.whole import explained, save_picture
from amvur_jax.fitting import fit
from amvur_jax.fitting import trial as trials
from amvur_jax.runtime import cli
from mano_jax import load_hand

_OUTPUT = flags.DEFINE_string("output", "runs/fit", "Folder for fit.jpg.")
_STARTS = flags.DEFINE_integer("starts", 10, "Number of random starts.", lower_bound=1)
_STEPS = flags.DEFINE_integer("steps", 200, "Steps of Adam.", lower_bound=10)
_SEED = flags.DEFINE_integer("seed", 0, "Of the target and the starts.", lower_bound=0)


def main() -> None:
    output = pathlib.Path(_OUTPUT.value)
    with explained(output):  # before the work
        output.mkdir(parents=True, exist_ok=True)
    trial = trials.make_trial(load_hand(), _STARTS.value, _SEED.value)
    with tqdm.tqdm(total=_STEPS.value, unit="step", desc="fit") as bar:

        def report(losses: np.ndarray) -> None:
            bar.set_postfix(loss=f"{losses.mean():.4f}", refresh=False)
            bar.update()

        track = fit.descend(
            trial.hand,
            trial.colors,
            trial.rig,
            trial.observation,
            trial.starts,
            _STEPS.value,
            report=report,
        )
    text, converged = trials.table(trial, track)
    print(text)
    save_picture(output / "fit.jpg", trials.picture(trial, track))
    print(f"Look at {output}/fit.jpg")
    if converged.mean() < 0.9:
        few = f"{converged.sum()} of {len(converged)} starts converged, fewer than nine in ten"
        raise UserError(f"{few}: give more --steps, or another --seed")


if __name__ == "__main__":
    cli.run(main)
