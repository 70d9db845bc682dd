"""AMVUR on HO-3D v2 from 2D joints alone, the published schedule.

    python scripts/train.py --config=configs/ho3d_weak.py --config.data.root=DIR --workdir=runs/ho3d_weak

HRNet-W64, 40 epochs. The published runs start from HRNet's ImageNet weights.
"""

from amvur_jax.configs.default import get_config as default
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    return default()
