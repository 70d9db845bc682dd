"""scripts/train.py with a batch that is not finite: python -m benchmarks.soak_run STEP [FLAGS OF train.py]"""

import pathlib
import runpy
import sys

import numpy as np

from amvur_jax.data.batches import TrainBatches

TRAIN = pathlib.Path(__file__).resolve().parents[1] / "scripts" / "train.py"


def spoil(step):
    """Let the labels of the batch `step`, from 0, be NaN."""
    give = TrainBatches.__next__

    def spoilt(self):
        place = self.get_state()["step"]
        batch = give(self)
        if place == step:
            batch["joints_2d"] = np.full_like(batch["joints_2d"], np.nan)
        return batch

    TrainBatches.__next__ = spoilt


if __name__ == "__main__":
    spoil(int(sys.argv.pop(1)))
    runpy.run_path(str(TRAIN), run_name="__main__")
