"""One way to open a data set, whatever is in the folder.

A data set has len, `names` (list of str), `layout`, `split`, `frame(i)` -> Frame, and
`ground_truth`: (joints_cam (N, 21, 3), vertices_cam (N, 778, 3)) in the order of `names`, joints in
the model's order, metres, OpenCV camera frame, or None. Where a layout has fingertips of its own,
its joints are what the official file says.
"""

from pathlib import Path

from amvur_jax.data.ho3d import HO3D
from amvur_jax.errors import UserError

LAYOUTS = ("ho3d_v2", "ho3d_v3", "freihand")
SPLITS = ("train", "evaluation")


def open_dataset(root, split="train", hand=None):
    """Open a split of the data set in a folder.

    Args:
      root: the folder of an official HO-3D v2 or v3.
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel that the labels are for; None = the embedded one.

    Returns:
      The data set.

    Raises:
      UserError: there is no data set in the folder, or it is incomplete or malformed.
    """
    if split not in SPLITS:
        raise UserError(f"split={split!r}: a data set has the splits train and evaluation")
    return HO3D(Path(root), split, hand)
