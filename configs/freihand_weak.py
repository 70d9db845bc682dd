"""AMVUR on FreiHAND from 2D joints alone, with HO-3D's published schedule.

    python scripts/train.py --config=configs/freihand_weak.py --config.data.root=DIR \\
        --workdir=runs/freihand_weak

HRNet-W64, 40 epochs of the 130,240 training pictures. The crop is the whole picture.
"""

from amvur_jax.configs.default import get_config as default
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = default()
    c.data.root = "data/FreiHAND_pub_v2"
    c.train.steps = 81_400
    return c
