"""HO-3D v2 with 3D labels, the published backbone and the heads of configs/hand.py.

    python scripts/train.py --config=configs/ho3d_supervised_hand.py --config.data.root=DIR \\
        --config.init_from=runs/hrnet_w64 --workdir=runs/ho3d_hand

For who has the data and wants the better network; ho3d_weak_hand has more of it, and how runs/hrnet_w64 is
made. Its scores are not known: the data may not be passed on, and nobody has trained it yet.
"""

from amvur_jax.configs.ho3d_supervised import get_config as published
from amvur_jax.configs.ho3d_weak_hand import get_config as weak
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c, labels = weak(), published()
    c.model.camera = labels.model.camera
    c.model.map_depth = True
    c.loss.mode = labels.loss.mode
    c.loss.photometric = labels.loss.photometric
    c.loss.photometric_from = labels.loss.photometric_from
    c.loss.kl = labels.loss.kl  # the posterior is the answer
    c.loss.align_vertices = True
    return c
