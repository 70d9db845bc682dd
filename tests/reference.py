"""What the recorded runs of the published network had as input: weights, images, hand, sizes.

Weights are made from each tensor's name and shape alone, so that no weight has to be stored.
"""

import functools
import json
import pathlib
import re
import zlib

import jax.numpy as jnp
import numpy as np
from fake_mano import make_fake_mano
from flax import nnx
from flax.traverse_util import unflatten_dict

import mano_jax
from amvur_jax.functional import Network, merge_dicts
from amvur_jax.models.amvur import AmvurConfig
from amvur_jax.models.hrnet import HRNetSize
from amvur_jax.torch_names import convert_entry
from mano_jax.topology import PARENTS

DATA = pathlib.Path(__file__).parent / "data"

# Keep activations of order 1 and the hand in front of the camera: key, factor.
GAINS = [
    (r"backbone\.(layer1|incre_modules)\..*\.bn3\.weight$", 0.3),
    (r"backbone\.stage\d\..*\.branches\..*\.bn2\.weight$", 0.2),
    (r"backbone\.stage\d\..*\.fuse_layers\..*\.1\.weight$", 0.12),
    (r"backbone\.final_layer\.1\.weight$", 0.5),
    (r"(scale_reg|trans_reg|ks_reg)\.1\.weight$", 0.01),
    (r"(rot_reg|pose_projection2_|ks_var_reg)(\.1)?\.weight$", 0.1),
    (r"(orth_fc|orth_fc_var)\.1\.weight$", 0.03),
    (r"trans_encoder\.2\.(cls_head|cls_head_var|residual|residual_var)\.weight$", 0.05),
    (r"upsampling_var\.weight$", 0.3),
]
BIASES = {
    "scale_reg.1.bias": [0.95],
    "trans_reg.1.bias": [0.0, 0.0, 0.65],
    "ks_reg.1.bias": [0.9, 0.25, 0.9, 0.25],
    "orth_fc.1.bias": [6.0, 0.01, -0.02],
}

SMALL = AmvurConfig(
    backbone=HRNetSize(
        width=16, modules=(1, 1, 1), blocks=(2, 2, 2), stage1_blocks=1, stage1_planes=32
    ),
    hidden=(128, 64, 32),
    layers=2,
    published_quirks=True,
)
FULL = AmvurConfig(published_quirks=True)
CAMERAS = {"persp": "perspective", "ortho": "weak_perspective"}


def make_weight(key, shape):
    """The recorded weight of that name in the whole network's state dict."""
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if key in BIASES:
        return np.array(BIASES[key], np.float32)
    n = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_var"):
        n = 1 + 0.1 * np.abs(n)
    elif key.endswith("running_mean"):
        n *= 0.1
    elif key == "upsampling.weight":  # nearly a mean: meshes stay where their coarse ones are
        n = (1 + 0.3 * n) / 195
    elif key.endswith("bias"):
        n *= 0.01
    elif n.ndim == 1:
        n = 1 + 0.1 * n
    else:
        n *= np.sqrt(2 / np.prod(shape[1:]))
    for pattern, gain in GAINS:
        if re.match(pattern, key):
            n *= gain
    return n.astype(np.float32)


def state_dict(which):
    """The state dict, {key: array}, of the "small" or the "full" recorded network."""
    keys = json.loads((DATA / "state_dict_keys.json").read_text())[which]
    return {key: make_weight(key, shape) for key, shape, _ in keys}


def state(weights):
    """The network's state {"params", "batch_stats"} of a state dict."""
    entries = (convert_entry(key, array) for key, array in weights.items())
    return unflatten_dict({path: jnp.asarray(array) for path, array in filter(None, entries)})


def parameter(tree, key, like):
    """The leaf of a tree of parameters that has this published name, with its published axes."""
    (_, *path), _ = convert_entry(key, like)
    for name in path:
        tree = tree[name]
    return np.transpose(tree, (3, 2, 0, 1) if like.ndim == 4 else None)


def images(n, seed, size=224):
    """(n,size,size,3), as if ImageNet-normalised: noise in blocks of 16 pixels and in pixels."""
    g = np.random.default_rng(seed)
    low = g.standard_normal((n, 3, size // 16, size // 16))
    x = np.kron(low, np.ones((1, 1, 16, 16))) * 0.8 + 0.3 * g.standard_normal((n, 3, size, size))
    return jnp.asarray(x.astype(np.float32).transpose(0, 2, 3, 1))


@functools.cache
def hand():
    """The made-up hand with MANO's shapes, float32."""
    fake = make_fake_mano()
    arrays = {
        "v_template": fake["v_template"],
        "shapedirs": fake["shapedirs"],
        "posedirs": fake["posedirs"],
        "joint_regressor": fake["J_regressor"],
        "weights": fake["weights"],
        "components": fake["hands_components"],
        "mean_pose": fake["hands_mean"],
        "coarse": np.eye(778)[fake["D_idx"]],
    }
    arrays = {name: jnp.asarray(array, jnp.float32) for name, array in arrays.items()}
    faces = jnp.asarray(fake["f"].astype(np.int32))
    return mano_jax.HandModel(**arrays, faces=faces, parents=PARENTS, side="right", name="fake")


def network(config, camera):
    """The Network of a recorded size in a camera mode, "persp" or "ortho"."""
    return Network(AmvurConfig(**(vars(config) | {"camera": CAMERAS[camera]})))


def constant_noise(value):
    """The recorded runs' noise: the same number everywhere."""
    return lambda shape: jnp.full(shape, value)


def load(name):
    """The arrays of tests/data/NAME.npz."""
    with np.load(DATA / f"{name}.npz") as record:
        return dict(record)


def part(make, params, stats=None):
    """A part of the network, nnx.Module made by make(), with these parameters and statistics."""
    graphdef, _ = nnx.split(nnx.eval_shape(make))
    return nnx.merge(graphdef, nnx.State(merge_dicts(params, stats or {})))
