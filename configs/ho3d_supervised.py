"""AMVUR on HO-3D v2 with 3D labels, the published schedule.

    python scripts/train.py --config=configs/ho3d_supervised.py --config.data.root=DIR --workdir=runs/ho3d

HRNet-W64, 40 epochs. The paper reports PA-MPJPE 8.3 mm, PA-MPVPE 8.2 mm, F@5 .608, F@15 .965.
"""

from amvur_jax.configs.default import get_config as default
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = default()
    c.model.camera = "weak_perspective"
    c.loss.mode = "supervised"
    c.loss.photometric = 1e-3
    c.loss.photometric_from = 0.0
    return c
