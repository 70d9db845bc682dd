"""From the crop's own camera into the photograph's: the hand turned with its ray and put where it is seen.

A network that sees a crop can't know where in the photograph it was cut, so it answers as if it looked
straight at it. A hand at the rim looks the same when it is turned with the ray that leads to it.
"""

from __future__ import annotations

import numpy as np

from amvur_jax.models import pose_head


def ray(K: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Unit vectors (...,3) from a camera K (...,3,3) through pixels (...,2)."""
    point = np.concatenate([pixel, np.ones((*pixel.shape[:-1], 1))], -1)
    direction = np.linalg.solve(K, point[..., None])[..., 0]
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def turn_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The shortest rotations (...,3,3) that take unit vectors a to b (...,3), which must not be opposite."""
    cross, cosine = np.cross(a, b), (a * b).sum(-1)[..., None, None]
    x, y, z = np.moveaxis(cross, -1, 0)
    zero = np.zeros_like(x)
    skew = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(*x.shape, 3, 3)
    return np.eye(3) + skew + skew @ skew / (1 + cosine)


def into_picture(
    points: np.ndarray,
    K_crop: np.ndarray,
    crop: np.ndarray,
    size: int,
    K: np.ndarray,
    landmarks_px: np.ndarray,
) -> np.ndarray:
    """Points before the camera of their crop, brought before the photograph's.

    They keep their shape and are turned by the shortest rotation that takes the ray through the crop's middle
    from where the crop's camera has it to where the photograph's has it: by none, where the crop's camera is
    the photograph's, cropped. Their distance and place are those from which the 21 joints are seen where they
    were (`pose_head.placed`).

    Args:
      points: (B,21+V,3) m, the joints first.
      K_crop: (B,3,3) px of the crop.
      crop: (B,3,3) affine maps from px of the picture to px of its crop.
      size: side of the crops, px.
      K: (3,3) px of the photograph, or (B,3,3) of each one's.
      landmarks_px: (B,21,2) px of them, where joints are known to be seen; NaN: where the network
        has them.
    Returns:
      (B,21+V,3) m in the photograph's camera.
    """
    K = np.broadcast_to(K, K_crop.shape)
    middle = np.full((len(points), 2), size / 2)
    uncrop = np.linalg.inv(crop)
    there = np.einsum("bij,bj->bi", uncrop[:, :2, :2], middle) + uncrop[:, :2, 2]
    turn = turn_between(ray(K_crop, middle), ray(K, there))
    joints = points[:, :21]
    image = np.einsum("bij,bnj->bni", K_crop, joints)
    seen = image[..., :2] / image[..., 2:]
    seen = np.einsum("bij,bnj->bni", uncrop[:, :2, :2], seen) + uncrop[:, None, :2, 2]
    seen = np.where(np.isnan(landmarks_px), seen, landmarks_px)
    turned = np.einsum("bij,bnj->bni", turn, points - joints[:, :1])
    rays = (seen - K[:, None, :2, 2]) / K[:, None, [0, 1], [0, 1]]
    unit = np.broadcast_to([1.0, 0.0, 1.0, 0.0], (len(points), 4))
    shift = pose_head.placed(turned[:, :21], rays, np.ones(rays.shape[:2]), unit)
    return turned + shift[:, None]


def rigid(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """R (B,3,3) and t (B,3) that bring R a + t nearest to b, both (B,n,3) (Kabsch 1976)."""
    a_mean, b_mean = a.mean(1, keepdims=True), b.mean(1, keepdims=True)
    u, _, vt = np.linalg.svd(np.einsum("bni,bnj->bij", b - b_mean, a - a_mean))
    u[..., -1] *= np.sign(np.linalg.det(u @ vt))[:, None]
    R = u @ vt
    return R, b_mean[:, 0] - np.einsum("bij,bj->bi", R, a_mean[:, 0])
