"""What one training or evaluation step gets to see of a frame: a dict of numpy arrays."""

import numpy as np

from amvur_jax.data.crop import crop_box, crop_image, crop_matrix
from amvur_jax.data.frame import project


def make_sample(frame, size, rng=None, jitter_px=5.0):
    """Crop a frame and express its labels in the crop.

    Args:
      frame: a Frame.
      size: side of the crop, pixels.
      rng: a numpy Generator that jitters the crop (training), or None (evaluation).
      jitter_px: standard deviation of the jitter, pixels of the frame.

    Returns:
      image (S, S, 3) uint8 RGB; K (3, 3) intrinsics in crop pixels; crop (3, 3) the map from
      image to crop pixels; joints_2d (21, 2) in [0, 1] of the crop; joints_valid (21,) 0 or 1;
      joints_cam (21, 3) and wrist_cam (3,), metres, OpenCV camera frame; pose (48,), betas (10,),
      trans (3,); has_3d, has_mesh 0 or 1; index int32. All but image and index are float32. A
      label that the frame lacks is zeros with has_* 0; where the hand cannot be used (its centre
      is outside the image or it reaches behind the camera) joints_2d is zeros too, and
      joints_valid, has_3d and has_mesh are 0.
    """
    height, width = frame.image.shape[:2]
    centre, side, usable = crop_box(frame.box, (width, height), rng, jitter_px)
    A = crop_matrix(centre, side, size)
    K = A @ frame.K
    joints_2d, valid = np.zeros((21, 2)), False
    if frame.joints_cam is not None:
        projected = project(frame.joints_cam, K) / size
        valid = usable and bool(np.isfinite(projected).all())
        joints_2d = projected if valid else joints_2d
    sample = {
        "K": K,
        "crop": A,
        "joints_2d": joints_2d,
        "joints_valid": np.full(21, valid),
        "joints_cam": _or_zeros(frame.joints_cam, (21, 3)),
        "wrist_cam": frame.wrist_cam,
        "pose": _or_zeros(frame.pose, (48,)),
        "betas": _or_zeros(frame.betas, (10,)),
        "trans": _or_zeros(frame.trans, (3,)),
        "has_3d": valid,
        "has_mesh": valid and frame.pose is not None,
    }
    sample = {name: np.asarray(value, np.float32) for name, value in sample.items()}
    image = crop_image(frame.image, A, size)
    return sample | {"image": image, "index": np.int32(frame.index)}


def _or_zeros(value, shape):
    return np.zeros(shape) if value is None else value
