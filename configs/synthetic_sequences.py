"""A small hand that learns its fingers from sequences, with 2D joints alone: minutes on a CPU.

    python scripts/make_synthetic.py --output=data/turning --difficulty=turning \\
        --train=900 --evaluation=150 --seed=5
    python scripts/train.py --config=configs/synthetic_sequences.py --workdir=runs/sequences
    python scripts/evaluate.py --checkpoint=runs/sequences --output=runs/sequences --joints=detector

No 3D label and no posed skeleton teaches it; the frames of a sequence, whose hand has one shape and for a
while one pose, tell how far fingers are bent (docs/sequences.md). Joints come from a detector; the backbone
is all but left out.
"""

from amvur_jax.configs.synthetic_weak import get_config as small
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = small()
    c.data.root = "data/turning"
    c.data.group = 4
    c.data.group_span = 10
    c.model.image_size = 32
    c.model.crop_scale = 0.7
    c.model.pose_components = 45
    c.model.keypoint_head = False
    c.model.pose_head = "residual"
    c.model.keypoints = "given"
    c.model.camera_init = (1.5, 0.25, 1.5, 0.25)
    c.model.backbone.width = 8
    c.model.backbone.modules = (0, 0, 0)
    c.model.backbone.stage1_planes = 8
    c.model.backbone.head_planes = (2, 4, 8, 16)
    c.model.backbone.features = 32
    c.loss.pose = 1.0
    c.loss.keypoint_map = 0.0
    c.loss.kl = 0.0
    c.loss.tsa_pose = 0.002
    c.loss.photometric = 0.0
    c.loss.same_shape = 0.003
    c.loss.smooth_pose = 1.0
    c.eval.every = 0
    c.train.batch_size = 32
    c.train.steps = 600
    c.train.clip_norm = 1.0
    c.train.checkpoint_every = 0
    c.train.picture_every = 0
    return c
