"""AMVUR on HO-3D v3 from 2D joints alone, the published schedule.

    python scripts/train.py --config=configs/ho3d_v3_weak.py --config.data.root=DIR \\
        --workdir=runs/ho3d_v3_weak

HRNet-W64, 40 epochs of about 83,325 frames.
"""

from amvur_jax.configs.default import get_config as default
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = default()
    c.data.root = "data/HO3D_v3"
    c.train.steps = 52_078
    return c
