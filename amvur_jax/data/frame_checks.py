"""Whether a frame's labels agree with one another: what a builder asks before it believes them."""

import numpy as np

from amvur_jax.data.crop import crop_box
from amvur_jax.data.frame import Frame
from amvur_jax.data.readers.kinematics import KinematicChain
from mano_jax.topology import MODEL_TO_HO3D

# Of labels that were made from the same MANO parameters; another hand model is centimetres off.
LARGEST_MM = 5.0


def problem(frame: Frame, chain: KinematicChain) -> str | None:
    """What is wrong with a frame.

    Args:
      frame: a Frame.
      chain: the KinematicChain of the labels' hand model.

    Returns:
      One sentence, or None.
    """
    usable = crop_box(frame.box, frame.size)[2]
    if not usable:
        box = ", ".join(f"{x:.0f}" for x in frame.box)
        return f"the box about the hand ({box}) is not in the picture"
    if frame.joints_cam is None:
        return None
    if not (frame.joints_cam[:, 2] > 0).all():
        return "a joint is behind the camera"
    points = frame.projected_joints()
    if not ((points >= 0) & (points < frame.size)).all(axis=1).any():
        return "no joint projects into the picture"
    if frame.pose is not None:
        error_mm = mesh_error_mm(frame, chain)
        if error_mm > LARGEST_MM:
            return f"the MANO parameters and the labelled joints are {error_mm:.1f} mm apart"
    return None


def mesh_error_mm(frame: Frame, chain: KinematicChain) -> float:
    """Largest distance of the 16 joints of the chain from their labels, mm.

    The tips are left out: each user of MANO takes other vertices for them.
    """
    # The ignores: only frames that have these labels come here.
    joints = chain.joints(frame.pose, frame.betas) + frame.trans  # type: ignore[arg-type]
    target = frame.joints_cam[MODEL_TO_HO3D][:16]  # type: ignore[index]
    return 1e3 * np.linalg.norm(joints - target, axis=1).max()
