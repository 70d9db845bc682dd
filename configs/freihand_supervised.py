"""AMVUR on FreiHAND with 3D labels, with HO-3D's published schedule.

    python scripts/train.py --config=configs/freihand_supervised.py --config.data.root=DIR \\
        --workdir=runs/freihand

HRNet-W64, 40 epochs. The paper reports PA-MPJPE 6.2 mm, PA-MPVPE 6.1 mm, F@5 .767, F@15 .987.
"""

from amvur_jax.configs.freihand_weak import get_config as weak
from amvur_jax.configs.ho3d_supervised import get_config as supervised
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c, data = supervised(), weak()
    c.data.root, c.train.steps = data.data.root, data.train.steps
    return c
