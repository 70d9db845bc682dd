"""Where every tensor of a published PyTorch state dict goes in our parameter tree."""

import re

import numpy as np

# Applied in order to the dotted key, each where it matches: their name, our name.
RENAMES = [
    # HRNet
    (r"^backbone\.(conv|bn)(\d)\.", r"backbone.stem\2.\1."),
    (r"^backbone\.layer1\.(\d+)\.", r"backbone.stage1.block\1."),
    (r"^backbone\.incre_modules\.(\d)\.0\.", r"backbone.increase.branch\1."),
    (r"^backbone\.downsamp_modules\.(\d)\.", r"backbone.downsample.step\1."),
    (r"^backbone\.final_layer\.", r"backbone.final."),
    (r"^backbone\.transition1\.0\.", r"backbone.transition1.branch0."),
    (r"^backbone\.transition1\.1\.0\.", r"backbone.transition1.branch1."),
    (r"^backbone\.transition(\d)\.\d\.0\.", r"backbone.transition\1."),
    (
        r"^(backbone\.stage\d)\.(\d)\.branches\.(\d)\.(\d)\.",
        r"\1.module\2.branches.branch\3.block\4.",
    ),
    (
        r"^(backbone\.stage\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.(\d)\.(\d)\.",
        r"\1.module\2.fuse.to\3_from\4.step\5.\6.",
    ),
    (
        r"^(backbone\.stage\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.(\d)\.",
        r"\1.module\2.fuse.to\3_from\4.step0.\5.",
    ),
    (r"^(backbone\..*block\d|backbone\.increase\.branch\d)\.(conv|bn)(\d)\.", r"\1.conv\3.\2."),
    (r"^(backbone\..*)\.downsample\.(\d\.\w+)$", r"\1.shortcut.\2"),
    (r"^(backbone\..*)\.(?:conv|0)\.(\w+)$", r"\1.conv.\2"),
    (r"^(backbone\..*)\.(?:bn|1)\.(\w+)$", r"\1.norm.\2"),
    # transformers
    (r"^trans_encoder\.(\d)\.", r"encoder\1."),
    (r"^trans_texture\.", r"texture."),
    (r"\.bert\.img_embedding\.", r".embed."),
    (r"\.bert\.position_embeddings\.weight$", r".positions"),
    (r"\.bert\.cross_attention\.", r".cross_attention."),
    (r"\.bert\.encoder\.layer\.(\d+)\.", r".layers.layer\1."),
    (r"\.attention\.self\.", r".attention."),
    (r"\.attention\.output\.dense\.", r".attention_out."),
    (r"\.attention\.output\.LayerNorm\.", r".attention_norm."),
    (r"\.intermediate\.dense\.", r".feed_forward_in."),
    (r"\.output\.dense\.", r".feed_forward_out."),
    (r"\.output\.LayerNorm\.", r".feed_forward_norm."),
    (r"\.cls_head\.", r".head."),
    (r"\.cls_head_var\.", r".log_var_head."),
    # prior-net
    (r"^samp_2D_scale\.0\.", r"prior.step_2d."),
    (r"^samp_ks_scale\.0\.", r"prior.step_camera."),
    (r"^samp_3D_scale\.", r"prior.step_3d."),
    (r"^rot_reg\.", r"prior.rotation."),
    (r"^scale_reg\.", r"prior.scale."),
    (r"^trans_reg\.", r"prior.translation."),
    (r"^ks_reg\.", r"prior.camera."),
    (r"^ks_var_reg\.", r"prior.camera_log_var."),
    (r"^orth_fc\.", r"prior.weak_camera."),
    (r"^orth_fc_var\.", r"prior.weak_camera_log_var."),
    (r"^pose_projection1_\.", r"prior.pose.hidden."),
    (r"^pose_projection2_\.", r"prior.pose.out."),
    (r"^(prior\.\w+)\.0\.", r"\1.hidden."),
    (r"^(prior\.\w+)\.1\.", r"\1.out."),
    (r"^upsampling\.", r"upsample_mu."),
    (r"^upsampling_var\.", r"upsample_log_var."),
]

# In the file but not in the network: a classifier, counters, poolers, tables that nothing reads.
UNUSED = re.compile(
    r"^backbone\.classifier\.|num_batches_tracked$|\.pooler\.|\.residual_var\."
    r"|^trans_(encoder\.\d|texture)\.position_embeddings\.|^trans_texture\.cls_head_var\."
)

LEAVES = {"running_mean": "mean", "running_var": "var"}


def convert_entry(key: str, tensor: np.ndarray) -> tuple[tuple[str, ...], np.ndarray] | None:
    """Our path and array of one entry of the state dict of the whole network.

    Args:
      key: the dotted PyTorch name, with the `backbone.` prefix where it is the backbone's.
      tensor: numpy array.
    Returns:
      ("params" or "batch_stats", *names), array; or None where the network has no use for it.
    """
    if UNUSED.search(key):
        return None
    name = key
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    *path, leaf = name.split(".")
    if leaf == "weight":
        leaf = "scale" if tensor.ndim == 1 else "kernel"
        # (out, in, h, w) -> (h, w, in, out), (out, in) -> (in, out)
        tensor = np.transpose(tensor, (2, 3, 1, 0) if tensor.ndim == 4 else None)
    collection = "batch_stats" if leaf in LEAVES else "params"
    return (collection, *path, LEAVES.get(leaf, leaf)), tensor
