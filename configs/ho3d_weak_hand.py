"""HO-3D v2 from 2D joints alone with the published backbone and the heads of configs/hand.py.

    python scripts/convert_torch.py --kind=hrnet --input=hrnetv2_w64_imagenet_pretrained.pth \\
        --output=runs/hrnet_w64
    python scripts/train.py --config=configs/ho3d_weak_hand.py --config.data.root=DIR \\
        --config.init_from=runs/hrnet_w64 --workdir=runs/ho3d_weak_hand

For who has the data and wants the better network: HRNet-W64, 40 epochs, joints read off its map or a
detector's, the residual pose head that posed skeletons teach as well. Its scores are not known: the data may
not be passed on, and nobody has trained it yet. Rate and schedule are those of the small network, made
careful.
"""

from amvur_jax.configs.ho3d_weak import get_config as published
from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    c = published()
    c.model.crop_scale = 0.7
    c.model.pose_components = 45
    c.model.keypoint_head = True
    c.model.spread_head = True
    c.model.pose_head = "residual"
    c.model.keypoints = "either"
    c.model.map_depth = False
    c.model.centred_heads = True
    c.model.camera_init = (1.5, 0.25, 1.5, 0.25)
    c.loss.data_term = "mu"
    c.loss.norm = "l1"
    c.loss.kl = 0.0
    c.loss.kl_vertices_distance = "square"
    c.loss.tsa_pose = 0.002
    c.loss.coefficients = 0.001
    c.loss.keypoint_map = 4.0
    c.loss.heat = 0.3
    c.loss.pose = 1.0
    c.loss.nll = 1.0
    c.train.learning_rate = 2e-4
    c.train.schedule = "cosine"
    c.train.warmup_steps = 500
    c.train.clip_norm = 1.0
    c.train.ema_decay = 0.999
    c.train.skeletons = 3
    return c
