"""A small AMVUR on synthetic hands with 3D labels: minutes on a CPU.

python scripts/train.py --config=configs/synthetic_supervised.py --workdir=runs/synthetic_supervised
"""

from amvur_jax.configs.synthetic_weak import get_config as synthetic_weak
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = synthetic_weak()
    c.model.camera = "weak_perspective"
    c.model.weak_camera_init = (5.0, 0.0, 0.0)
    c.loss.mode = "supervised"
    c.loss.align_vertices = True
    c.loss.photometric = 1e-3
    return c
