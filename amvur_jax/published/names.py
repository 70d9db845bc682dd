"""Where every tensor of a published PyTorch state dict goes in our parameter tree."""

import re
from collections.abc import Sequence

import numpy as np

# Applied in order to the dotted key, each where it matches: their name, our name. `published_name` goes back
# through them, so that the special ones stand after the general ones; groups are not nested.
RENAMES = [
    # HRNet
    (r"^(backbone\..*)\.0\.(\w+)$", r"\1.conv.\2"),
    (r"^(backbone\..*)\.1\.(\w+)$", r"\1.norm.\2"),
    (r"^backbone\.conv(\d)\.", r"backbone.stem\1.conv."),
    (r"^backbone\.bn(\d)\.", r"backbone.stem\1.norm."),
    (r"^backbone\.layer1\.(\d+)\.", r"backbone.stage1.block\1."),
    (r"^backbone\.incre_modules\.(\d)\.0\.", r"backbone.increase.branch\1."),
    (r"^backbone\.downsamp_modules\.(\d)\.", r"backbone.downsample.step\1."),
    (r"^backbone\.final_layer\.", r"backbone.final."),
    (r"^backbone\.transition1\.0\.", r"backbone.transition1.branch0."),
    (r"^backbone\.transition1\.1\.0\.", r"backbone.transition1.branch1."),
    (r"^backbone\.transition([23])\.\1\.0\.", r"backbone.transition\1."),
    (
        r"^(backbone\.stage\d)\.(\d)\.branches\.(\d)\.(\d)\.",
        r"\1.module\2.branches.branch\3.block\4.",
    ),
    (
        r"^(backbone\.stage\d)\.(\d)\.fuse_layers\.(\d)\.(\d)\.(\d)\.",
        r"\1.module\2.fuse.to\3_from\4.step\5.",
    ),
    (  # to a finer branch: one step without a number
        r"^(backbone\.stage\d)\.(\d)\.fuse_layers\.(?=0|1\.[23]|2\.3)(\d)\.(\d)\.(conv|norm)\.",
        r"\1.module\2.fuse.to\3_from\4.step0.\5.",
    ),
    (r"^(backbone\..*block\d|backbone\.increase\.branch\d)\.conv(\d)\.", r"\1.conv\2.conv."),
    (r"^(backbone\..*block\d|backbone\.increase\.branch\d)\.bn(\d)\.", r"\1.conv\2.norm."),
    (r"^(backbone\..+)\.downsample\.", r"\1.shortcut."),
    # transformers
    (r"^trans_encoder\.(\d)\.", r"encoder\1."),
    (r"^trans_texture\.", r"texture."),
    (r"\.bert\.img_embedding\.", r".embed."),
    (r"\.bert\.position_embeddings\.weight$", r".positions"),
    (r"\.bert\.cross_attention\.", r".cross_attention."),
    (r"\.bert\.encoder\.layer\.(\d+)\.", r".layers.layer\1."),
    (r"\.attention\.output\.dense\.", r".attention_out."),
    (r"\.attention\.output\.LayerNorm\.", r".attention_norm."),
    (r"\.attention\.self\.", r".attention."),
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
    (r"^(prior\.\w+)\.0\.", r"\1.hidden."),
    (r"^(prior\.\w+)\.1\.", r"\1.out."),
    (r"^pose_projection1_\.", r"prior.pose.hidden."),
    (r"^pose_projection2_\.", r"prior.pose.out."),
    (r"^upsampling\.", r"upsample_mu."),
    (r"^upsampling_var\.", r"upsample_log_var."),
]

# In the file but not in the network: a classifier, counters, poolers, tables that nothing reads.
UNUSED = re.compile(
    r"^backbone\.classifier\.|num_batches_tracked$|\.pooler\.|\.residual_var\."
    r"|^trans_(encoder\.\d|texture)\.position_embeddings\.|^trans_texture\.cls_head_var\."
)

LEAVES = {"running_mean": "mean", "running_var": "var"}
_PUBLISHED_LEAVES = {"kernel": "weight", "scale": "weight"} | {v: k for k, v in LEAVES.items()}


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


def published_name(path: Sequence[str]) -> str:
    """The dotted PyTorch name that `convert_entry` gives this path, ("params" or "batch_stats", *names)."""
    *names, leaf = path[1:]
    name = ".".join([*names, _PUBLISHED_LEAVES.get(leaf, leaf)])
    for pattern, replacement in reversed(RENAMES):
        before = re.sub(*_inverted(pattern, replacement), name)
        if re.sub(pattern, replacement, before) == name:
            name = before
    return name


def _inverted(pattern: str, replacement: str) -> tuple[str, str]:
    """Pattern and replacement of the way back, where groups are not nested and the rest is plain text."""
    groups = iter(re.findall(r"\((?!\?)([^()]*)\)", pattern))
    numbered = {str(n): group for n, group in enumerate(groups, 1)}
    back = re.sub(r"\\\\(\d)", lambda m: f"(?P<g{m[1]}>{numbered[m[1]]})", re.escape(replacement))
    back = "^" * pattern.startswith("^") + back + "$" * pattern.endswith("$")
    numbers = iter(numbered)
    plain = re.sub(r"\(\?[^()]*\)", "", pattern.strip("^$")).replace(r"\.", ".")
    plain = re.sub(r"\\(\d)", r"\\g<g\1>", plain)
    return back, re.sub(r"\([^()]*\)", lambda _: rf"\g<g{next(numbers)}>", plain)
