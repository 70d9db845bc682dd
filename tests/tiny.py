"""The smallest config that has every part of the network, for tests of what is around it."""

from configs.synthetic_weak import get_config as synthetic_weak


def tiny_config(root, **train):
    """A config that compiles and trains in seconds; `train` overrides fields of config.train."""
    c = synthetic_weak()
    c.data.root = str(root)
    c.model.image_size = 32
    c.model.hidden = (16, 16, 8)
    c.model.outputs = (16, 8, 3)
    c.model.heads = 2
    c.model.texture_hidden = 8
    c.model.texture_heads = 2
    c.model.backbone.width = 8
    c.model.backbone.blocks = (1, 1, 1)
    c.model.backbone.stage1_planes = 8
    c.model.backbone.head_planes = (2, 4, 8, 16)
    c.model.backbone.features = 32
    c.loss.photometric_samples = 1
    c.loss.photometric_from = 0.0  # one compilation
    c.eval.every = 0
    c.train.batch_size = 2
    c.train.steps = 4
    c.train.warmup_steps = 1
    c.train.checkpoint_every = 2
    c.train.log_every = 1
    c.train.picture_every = 0
    c.train.update(train)
    return c


def tiniest_config(root, **train):
    """A backbone without stages and nothing rendered, for tests of what is around the network."""
    c = tiny_config(root, **train)
    c.model.backbone.modules = (0, 0, 0)
    c.loss.photometric = 0.0
    return c
