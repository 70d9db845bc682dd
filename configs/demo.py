"""The shipped network, taught one synthetic set more from 2D joints alone: minutes on a CPU.

    python scripts/make_synthetic.py --output=data/synthetic --train=600 --evaluation=150 --seed=0
    python scripts/train.py --config=configs/demo.py --workdir=runs/demo

What no 2D joint says, it keeps from the posed skeletons that the step makes up beside the pictures.
"""

from amvur_jax.configs.hand import get_config as hand
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = hand()
    c.init_from = "shipped"
    # Without 3D labels the pose would teach the backbone what is seen from one side.
    c.model.detach = True
    c.data.mix = ()
    c.data.root = "data/synthetic"
    c.data.cache = True
    c.data.augment.rotation = 20.0
    c.data.augment.background = 0.0
    c.eval.root = ""
    c.eval.every = 100
    c.eval.samples = 128
    c.loss.use_3d = False
    c.train.steps = 400
    c.train.optimizer = "adam"  # compiled sooner
    c.train.learning_rate = 2e-4
    c.train.warmup_steps = 20
    c.train.ema_decay = 0.98
    c.train.checkpoint_every = 100
    c.train.picture_every = 0
    return c
