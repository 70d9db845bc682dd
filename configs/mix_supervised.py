"""AMVUR on HO-3D v3 and FreiHAND together with 3D labels, two pictures of the one to one of the other.

    python scripts/train.py --config=configs/mix_supervised.py --workdir=runs/mix \\
        --config.data.mix="(('DIR/HO3D_v3', 2.0), ('DIR/FreiHAND_pub_v2', 1.0))"

HRNet-W64, 40 epochs of HO-3D v3. Scores during training (`config.eval.every`) are of the first that has an
evaluation split. Nobody has published numbers of this mix.
"""

from amvur_jax.configs.ho3d_v3_supervised import get_config as ho3d_v3
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = ho3d_v3()
    c.data.mix = (("data/HO3D_v3", 2.0), ("data/FreiHAND_pub_v2", 1.0))
    c.train.steps = 78_117
    # FreiHAND's labels have other vertices at index and middle tip, 4.0 and 4.7 mm from these.
    c.model.fingertips = "ho3d"
    return c
