"""Axis-angle vectors and rotation matrices, finite in value and gradient everywhere."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

# Below this squared angle the series of sin(t)/t is exact in float32.
_SMALL_SQUARED_ANGLE = 1e-8


def rotation_matrix(rotvec: ArrayLike) -> jax.Array:
    """Rodrigues' formula: R = I + sin(t)/t [r] + (1 - cos t)/t^2 [r]^2, t = |r|.

    Args:
      rotvec: (..., 3) axis times angle, radians.

    Returns:
      (..., 3, 3) rotation matrices; the gradient at zero is the exact one.
    """
    rotvec = jnp.asarray(rotvec)
    squared = jnp.sum(rotvec**2, axis=-1, keepdims=True)[..., None]
    small = squared < _SMALL_SQUARED_ANGLE
    # Double where: the branch not taken must be finite too, or its gradient is NaN.
    angle = jnp.sqrt(jnp.where(small, 1.0, squared))
    a = jnp.where(small, 1.0 - squared / 6.0, jnp.sin(angle) / angle)
    # 1 - cos t = 2 sin^2(t/2) keeps its digits at small angles.
    b = jnp.where(small, 0.5 - squared / 24.0, 2.0 * (jnp.sin(angle / 2.0) / angle) ** 2)
    x, y, z = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    zero = jnp.zeros_like(x)
    cross = jnp.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=-1)
    cross = cross.reshape(*rotvec.shape, 3)
    outer = rotvec[..., :, None] * rotvec[..., None, :]
    eye = jnp.eye(3, dtype=rotvec.dtype)
    return eye + a * cross + b * (outer - squared * eye)


def rotation_vector(matrix: ArrayLike) -> jax.Array:
    """The rotation vector of a rotation matrix, its angle in [0, pi].

    Goes through the unit quaternion, read off the best conditioned row of 4 q q^T, which is
    linear in the matrix: accurate near zero and near pi alike.

    Args:
      matrix: (..., 3, 3) rotation matrices.

    Returns:
      (..., 3) axis times angle, radians.
    """
    matrix = jnp.asarray(matrix)
    m00, m01, m02 = matrix[..., 0, 0], matrix[..., 0, 1], matrix[..., 0, 2]
    m10, m11, m12 = matrix[..., 1, 0], matrix[..., 1, 1], matrix[..., 1, 2]
    m20, m21, m22 = matrix[..., 2, 0], matrix[..., 2, 1], matrix[..., 2, 2]
    wx, wy, wz = m21 - m12, m02 - m20, m10 - m01
    xy, xz, yz = m01 + m10, m02 + m20, m12 + m21
    ww = 1.0 + m00 + m11 + m22
    xx = 1.0 + m00 - m11 - m22
    yy = 1.0 - m00 + m11 - m22
    zz = 1.0 - m00 - m11 + m22
    rows = jnp.stack([ww, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz], axis=-1)
    rows = rows.reshape(*rows.shape[:-1], 4, 4)
    best = jnp.argmax(jnp.stack([ww, xx, yy, zz], axis=-1), axis=-1)
    row = jnp.take_along_axis(rows, best[..., None, None], axis=-2)[..., 0, :]
    q = row / jnp.linalg.norm(row, axis=-1, keepdims=True)
    q = jnp.where(q[..., :1] < 0, -q, q)
    w, xyz = q[..., :1], q[..., 1:]
    squared = jnp.sum(xyz**2, axis=-1, keepdims=True)
    small = squared < _SMALL_SQUARED_ANGLE
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    scale = jnp.where(small, 2.0 + squared / 3.0, 2.0 * jnp.arctan2(sine, w) / sine)
    return xyz * scale
