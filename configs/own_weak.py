"""The shipped network, taught by pictures of your own, and by made-up hands lest it forget depth.

    python scripts/label.py --input=clip.mp4 --output=data/mine
    python scripts/train.py --config=configs/own_weak.py --workdir=runs/mine
    python scripts/evaluate.py --checkpoint=runs/mine --data_root=data/mine

Minutes on two cores (docs/own_pictures.md). BatchNorm stays as it is: a few hundred pictures of one hand are
no statistics of all.
"""

from amvur_jax.configs.hand import get_config as hand
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = hand()
    c.init_from = "shipped"
    c.data.mix = (("stream", 0.5), ("data/mine", 0.5, "2d"))
    c.loss.kl = 0.01
    c.train.freeze_batch_norm = True
    c.train.optimizer = "adam"  # compiled sooner
    c.train.learning_rate = 1e-4
    c.train.warmup_steps = 30
    c.train.steps = 600
    c.train.ema_decay = 0.99
    c.train.checkpoint_every = 200
    c.train.picture_every = 0
    c.eval.every = 0
    return c
