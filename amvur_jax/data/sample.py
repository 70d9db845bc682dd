"""What one training or evaluation step gets to see of a frame: a dict of numpy arrays."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from amvur_jax.data.augment import STILL, Augmentation, degrade, draw_view, occlude, recolor
from amvur_jax.data.crop import crop_box, crop_image, crop_mask, crop_matrix
from amvur_jax.data.cutout import relay
from amvur_jax.data.frame import Frame, project
from amvur_jax.data.readers.kinematics import turned

_PLAIN = Augmentation()
_FLIP = np.array([-1.0, 1.0, 1.0])
# Axis-angles of the mirror image: an axis is a pseudo-vector.
_FLIP_ROTATION = np.array([1.0, -1.0, -1.0])


def make_sample(
    frame: Frame,
    size: int,
    rng: np.random.Generator | None = None,
    augmentation: Augmentation = _PLAIN,
    crop_scale: float = 1.0,
    masks: bool = False,
) -> dict[str, Any]:
    """Crop a frame and express its labels in the crop.

    One affine map A of the picture and one rigid map R of the camera frame about its centre belong
    together: points R X are seen by K_crop = A K R^-1 where A takes their pixels. R is the turn of
    the picture and, for a left hand, the mirror image, which makes it a right one.

    Args:
      frame: a Frame.
      size: side of the crop, pixels.
      rng: a numpy Generator that augments (training), or None (evaluation).
      augmentation: how much it does.
      crop_scale: the crop's side, times the published one (config.model.crop_scale).
      masks: say too which pixels show the hand.

    Returns:
      image (S, S, 3) uint8 RGB; K (3, 3) intrinsics in crop pixels; crop (3, 3) the map from
      image to crop pixels; joints_2d (21, 2) in [0, 1] of the crop; joints_valid (21,) 0 or 1,
      of a 2D label from 0 to 1: how much each joint counts;
      joints_cam (21, 3) and wrist_cam (3,), metres, OpenCV camera frame; pose (48,), betas (10,),
      trans (3,); has_image, has_3d, has_mesh 0 or 1; index int32. All but image and index are
      float32. A label that the frame lacks is zeros with has_* 0 (a mesh is one with its place: pose,
      trans and root_cam); where the hand cannot be used
      (its centre is outside the image, it reaches behind the camera, or it is a left one that is not
      mirrored) joints_2d is zeros too, joints_valid and all has_* are 0: nothing is learnt from it.
      With `masks` also visible (S, S) bool, Frame.visible in the crop, False beyond the picture; and
      has_visible, 0 or 1, float32.
    """
    width, height = frame.size
    mirror = frame.side == "left" and augmentation.mirror_left
    box = np.asarray(frame.box, np.float64)
    if mirror:
        box = np.array([width - box[2], box[1], width - box[0], box[3]])
    centre, side, usable = crop_box(box, (width, height), rng, augmentation.jitter_px)
    side = side * crop_scale
    usable = usable and (mirror or frame.side == "right")
    view = STILL if rng is None else draw_view(rng, augmentation)
    A = crop_matrix(centre + side * view.shift, side * view.scale, size, view.angle)
    if mirror:
        A = A @ np.array([[-1.0, 0.0, width], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    R = _turn(view.angle) * (_FLIP if mirror else 1.0)
    K = A @ frame.K @ R.T
    joints_cam = None if frame.joints_cam is None else frame.joints_cam @ R.T
    if joints_cam is not None:
        joints_px = project(joints_cam, K)
    elif frame.joints_px is not None:
        joints_px = frame.joints_px @ A[:2, :2].T + A[:2, 2]
    else:
        joints_px = np.full((21, 2), np.nan)
    labelled = frame.joints_cam is not None or frame.joints_px is not None
    valid = usable and bool(np.isfinite(joints_px).all())
    picture = frame.image
    if rng is not None and augmentation.background:
        picture = _relaid(frame, rng, augmentation.background)
    place = A @ _shift(frame.origin)
    image = crop_image(picture, place, size)
    visible = np.ones((size, size), bool)
    if masks and frame.visible is not None:
        visible = crop_mask(frame.visible, place, size)
    if rng is not None:
        image, patch = _change_pixels(image, rng, augmentation, joints_px if valid else None)
        if patch is not None:
            visible &= ~patch
    arrays: dict[str, ArrayLike] = {
        "K": K,
        "crop": A,
        "joints_2d": joints_px / size if valid else np.zeros((21, 2)),
        "joints_valid": valid * (np.ones(21) if frame.confidence is None else frame.confidence),
        "joints_cam": _or_zeros(joints_cam, (21, 3)),
        "wrist_cam": np.zeros(3) if frame.wrist_cam is None else R @ frame.wrist_cam,
        "betas": _or_zeros(frame.betas, (10,)),
        **_moved_mesh(frame, view.angle, mirror),
        "has_image": valid if labelled else usable,
        "has_3d": valid and joints_cam is not None,
        "has_mesh": valid and _has_mesh(frame),
    }
    sample = _as_float32(arrays) | {"image": image, "index": np.int32(frame.index)}
    return sample | _masked(visible, frame.visible is not None) if masks else sample


def empty_sample(index: int, size: int, masks: bool = False) -> dict[str, Any]:
    """The sample of a frame that cannot be read: black, and nothing to learn from it."""
    shapes = {"K": (3, 3), "crop": (3, 3), "joints_2d": (21, 2), "joints_valid": (21,)}
    shapes |= {"joints_cam": (21, 3), "wrist_cam": (3,), "betas": (10,), "pose": (48,)}
    shapes |= {"trans": (3,), "has_image": (), "has_3d": (), "has_mesh": ()}
    arrays = {name: np.zeros(shape) for name, shape in shapes.items()}
    arrays |= {"K": np.eye(3), "crop": np.eye(3)}
    image = np.zeros((size, size, 3), np.uint8)
    sample = _as_float32(arrays) | {"image": image, "index": np.int32(index)}
    return sample | _masked(np.zeros((size, size), bool), False) if masks else sample


def _masked(visible: np.ndarray, known: bool) -> dict[str, np.ndarray]:
    return {"visible": visible, **_as_float32({"has_visible": known})}


def _has_mesh(frame: Frame) -> bool:
    return not any(part is None for part in (frame.pose, frame.trans, frame.root_cam))


def _moved_mesh(frame: Frame, angle: float, mirror: bool) -> dict[str, np.ndarray]:
    if not _has_mesh(frame):
        return {"pose": np.zeros(48), "trans": np.zeros(3)}
    pose: Any = frame.pose
    trans: Any = frame.trans
    root: Any = frame.root_cam
    if mirror:
        pose = (pose.reshape(16, 3) * _FLIP_ROTATION).ravel()
        trans, root = trans * _FLIP, root * _FLIP
    if angle:
        quaternion = (np.cos(angle / 2), 0.0, 0.0, np.sin(angle / 2))
        pose = np.concatenate([turned(quaternion, pose[:3]), pose[3:]])
        # The mesh turns about its wrist J0 + trans, the camera frame about the camera.
        trans = trans + _turn(angle) @ root - root
    return {"pose": pose, "trans": trans}


def _relaid(frame: Frame, rng: np.random.Generator, share: float) -> np.ndarray:
    if frame.joints_px is None or rng.random() >= share:
        return frame.image
    return relay(frame.image, rng, frame.joints_px - np.array(frame.origin))


def _change_pixels(
    image: np.ndarray,
    rng: np.random.Generator,
    augmentation: Augmentation,
    joints_px: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """The image, and where a patch covers it."""
    patch = None
    if augmentation.color:
        image = recolor(image, rng, augmentation.color)
    if augmentation.occlusion and rng.random() < augmentation.occlusion and joints_px is not None:
        patch = occlude(image, rng, joints_px)
    return degrade(image, rng, augmentation.degrade) if augmentation.degrade else image, patch


def _turn(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _shift(origin: tuple[int, int]) -> np.ndarray:
    return np.array([[1.0, 0.0, origin[0]], [0.0, 1.0, origin[1]], [0.0, 0.0, 1.0]])


def _or_zeros(value: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape) if value is None else value


def _as_float32(arrays: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value, np.float32) for name, value in arrays.items()}
