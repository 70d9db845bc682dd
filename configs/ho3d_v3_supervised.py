"""AMVUR on HO-3D v3 with 3D labels, the published schedule.

    python scripts/train.py --config=configs/ho3d_v3_supervised.py --config.data.root=DIR \\
        --workdir=runs/ho3d_v3

HRNet-W64, 40 epochs. The paper reports PA-MPJPE 8.7 mm, PA-MPVPE 8.3 mm, F@5 .593, F@15 .964.
"""

from amvur_jax.configs.ho3d_supervised import get_config as supervised
from amvur_jax.configs.ho3d_v3_weak import get_config as weak
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c, data = supervised(), weak()
    c.data.root, c.train.steps = data.data.root, data.train.steps
    return c
