"""Make the embedded hand from its CC0 source.

python scripts/build_hand.py --output=mano_jax/assets/hand.npz
"""

from pathlib import Path

import numpy as np
from absl import flags

import mano_jax
from amvur_jax.files.whole import writing
from amvur_jax.runtime import cli
from mano_jax.embedded import build_hand
from mano_jax.topology import PARENTS

ASSETS = Path(mano_jax.__file__).parent / "assets"
_SOURCE = flags.DEFINE_string("source", str(ASSETS / "hand_cc0.npz"), "The CC0 mesh.")
_OUTPUT = flags.DEFINE_string("output", str(ASSETS / "hand.npz"), "The hand model to write.")


def main() -> None:
    with np.load(_SOURCE.value, allow_pickle=False) as source:
        arrays = build_hand(source)
    parents = np.array(PARENTS, np.int32)
    with writing(Path(_OUTPUT.value)) as file:
        np.savez_compressed(file, **arrays, parents=parents, side="right", name="embedded")
    print(f"{_OUTPUT.value}: {Path(_OUTPUT.value).stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    cli.run(main)
