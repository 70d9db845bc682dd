"""FreiHAND from 2D joints alone, the published backbone and the heads of configs/hand.py.

    python scripts/train.py --config=configs/freihand_weak_hand.py --config.data.root=DIR \\
        --config.init_from=runs/hrnet_w64 --workdir=runs/freihand_weak_hand

For who has the data and wants the better network; ho3d_weak_hand has more of it, and how runs/hrnet_w64 is
made. The crop is 0.7 of the picture. Its scores are not known: the data may not be passed on, and nobody has
trained it yet.
"""

from amvur_jax.configs.freihand_weak import get_config as published
from amvur_jax.configs.ho3d_weak_hand import get_config as ho3d
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c, data = ho3d(), published()
    c.data.root, c.train.steps = data.data.root, data.train.steps
    return c
