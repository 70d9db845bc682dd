"""The network that ships: a small AMVUR whose fingers bend, from made-up hands without end and photographs.

    python scripts/label.py --input=digits.zip --output=data/digits --evaluation=0
    python scripts/train.py --config=configs/hand.py --workdir=runs/hand

docs/weights.md says what digits.zip is, how long it takes and what comes of it, and by which ways the weights
that ship came to this recipe.
"""

from amvur_jax.configs.synthetic_weak import get_config as small
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = small()
    c.data.mix = (("stream", 0.8), ("data/digits", 0.2, "2d"))
    c.eval.root = "stream"
    c.data.cache = False
    c.data.augment.rotation = 30.0
    c.data.augment.scale = 0.15
    c.data.augment.shift = 0.06
    c.data.augment.color = 0.3
    c.data.augment.degrade = 0.25
    c.data.augment.background = 0.6
    c.model.crop_scale = 0.7
    c.model.pose_components = 45
    c.model.head_hidden = 64
    c.model.pose_head = "residual"
    c.model.keypoints = "either"
    c.model.spread_cues = True
    c.model.camera_init = (1.5, 0.25, 1.5, 0.25)
    c.loss.pose = 1.0
    c.loss.use_3d = True
    c.loss.keypoint_map = 4.0
    c.loss.heat = 0.3
    c.loss.kl = 0.0
    c.loss.tsa_pose = 0.002
    c.loss.photometric = 0.0
    c.loss.coefficients = 0.001
    c.eval.every = 500
    c.eval.samples = 512
    c.train.batch_size = 32
    c.train.steps = 47000
    c.train.optimizer = "muon"
    c.train.learning_rate = 1e-3
    c.train.warmup_steps = 200
    c.train.clip_norm = 1.0
    c.train.skeletons = 3
    c.train.ema_decay = 0.999
    c.train.checkpoint_every = 500
    c.train.picture_every = 2000
    return c
