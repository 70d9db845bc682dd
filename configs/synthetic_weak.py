"""A small AMVUR on synthetic hands from 2D joints alone: minutes on a CPU.

    python scripts/make_synthetic.py --output=data/synthetic --train=2000 --evaluation=200 --seed=0
    python scripts/train.py --config=configs/synthetic_weak.py --workdir=runs/synthetic_weak

From random weights and in minutes the published recipe diverges or learns nothing, so this one takes
liberties, each a field: means instead of samples in the data terms, L1, 2D joints read off the feature
map, heads that start near zero, betas predicted, variances of their own, a higher rate with warm-up
and cosine, no dropout.
"""

from amvur_jax.configs.default import get_config as default
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = default()
    c.data.root = "data/synthetic"
    c.data.cache = True
    c.model.image_size = 64
    c.model.pose_components = 15
    c.model.predict_shape = True
    c.model.hidden = (64, 32, 16)
    c.model.outputs = (64, 32, 3)
    c.model.layers = 1
    c.model.texture_hidden = 48
    c.model.texture_layers = 1
    c.model.texture_heads = 2
    c.model.dropout = 0.0
    c.model.keypoint_head = True
    c.model.spread_head = True
    c.model.centred_heads = True
    c.model.camera_init = (1.0, 0.25, 1.0, 0.25)
    c.model.step_init = 1e-3
    c.model.backbone.width = 16
    c.model.backbone.modules = (1, 1, 1)
    c.model.backbone.blocks = (2, 2, 2)
    c.model.backbone.stage1_blocks = 1
    c.model.backbone.stage1_planes = 32
    c.model.backbone.head_planes = (8, 16, 32, 64)
    c.model.backbone.features = 512
    c.loss.data_term = "mu"
    c.loss.norm = "l1"
    c.loss.kl_vertices_distance = "square"
    c.loss.photometric_from = 0.6
    c.loss.photometric_samples = 4
    c.loss.keypoint_map = 1.0
    c.loss.coefficients = 0.003
    c.loss.nll = 1.0
    c.eval.every = 200
    c.eval.samples = 128
    c.train.batch_size = 16
    c.train.steps = 1200
    c.train.learning_rate = 1e-3
    c.train.schedule = "cosine"
    c.train.warmup_steps = 30
    c.train.checkpoint_every = 200
    return c
