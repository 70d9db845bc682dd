"""Make the embedded hand from its CC0 source.

python scripts/build_hand.py --output=mano_jax/assets/hand.npz
"""

import argparse
from pathlib import Path

import numpy as np

from mano_jax.embedded import build_hand
from mano_jax.topology import PARENTS

ASSETS = Path(__file__).resolve().parent.parent / "mano_jax" / "assets"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--source", type=Path, default=ASSETS / "hand_cc0.npz")
    parser.add_argument("--output", type=Path, default=ASSETS / "hand.npz")
    flags = parser.parse_args()
    with np.load(flags.source, allow_pickle=False) as source:
        arrays = build_hand(source)
    parents = np.array(PARENTS, np.int32)
    np.savez_compressed(flags.output, **arrays, parents=parents, side="right", name="embedded")
    print(f"{flags.output}: {flags.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
