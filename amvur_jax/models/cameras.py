"""Projections of camera-frame points (OpenCV, metres) into the crop, and of their log-variances.

Perspective cameras are (fx, cx, fy, cy) in units of twice the crop's side; weak-perspective cameras
are (s, tx, ty). `quirks=True` reproduces the published code where it departs from what it means.
"""

import functools

import jax
import jax.numpy as jnp

import render

# Full float32: an accelerator's default would put joints a tenth of a millimetre off.
_einsum = functools.partial(jnp.einsum, precision="highest")
FOCAL_224 = 1000.0  # px at 224: the focal length with which weak-perspective views are rendered


def intrinsics(camera: jax.Array, size: int) -> jax.Array:
    """K (...,3,3) in crop pixels from a perspective camera (...,4) = (fx, cx, fy, cy) / (2 size)."""
    fx, cx, fy, cy = jnp.moveaxis(camera * (2 * size), -1, 0)
    zero, one = jnp.zeros_like(fx), jnp.ones_like(fx)
    rows = [jnp.stack(r, -1) for r in ((fx, zero, cx), (zero, fy, cy), (zero, zero, one))]
    return jnp.stack(rows, -2)


def camera_from_intrinsics(K: jax.Array, size: int) -> jax.Array:
    """Perspective camera (...,4) = (fx, cx, fy, cy) / (2 size) of K (...,3,3) in crop pixels."""
    entries = [K[..., 0, 0], K[..., 0, 2], K[..., 1, 1], K[..., 1, 2]]
    return jnp.stack(entries, -1) / (2 * size)


def project(points: jax.Array, K: jax.Array) -> jax.Array:
    """Pixels (...,N,2) of points (...,N,3) under K (...,3,3): u = (K X)_xy / z."""
    image = _einsum("...ij,...nj->...ni", K, points)
    return image[..., :2] / image[..., 2:]


def project_sides(points: jax.Array, camera: jax.Array) -> jax.Array:
    """Places (...,B,N,2) of points (...,B,N,3) by cameras (B,4) = fx, cx, fy, cy, in the cameras' unit."""
    return points[..., :2] / points[..., 2:] * camera[:, None, ::2] + camera[:, None, 1::2]


def relative_depth(joints: jax.Array, focal: jax.Array) -> jax.Array:
    """How far joints (B,J,3) lie behind the first, at its distance, (B,J) in the unit of focal (B,)."""
    wrist = joints[:, :1, 2]
    return (joints[..., 2] - wrist) / jnp.maximum(wrist, 1e-3) * focal[:, None]


def project_log_var(
    points: jax.Array, log_var: jax.Array, K: jax.Array, *, quirks: bool = False
) -> jax.Array:
    """Log-variance (...,N,2) in px^2 of projected points, by the delta method.

    var_u = (fx/z)^2 (e^lx + x^2/z^2 e^lz), likewise v. As published (quirks) it is
    x^2/z^2 (c_x/x^2 + e^lz/z^2) with c = diag(K diag(e^l) K^T), infinite where x = 0.

    Args:
      points: (...,N,3) mean, camera frame.
      log_var: (...,N,3) log-variance of the points.
      K: (...,3,3) px.
    """
    xy, z = points[..., :2], points[..., 2:]
    if quirks:
        c = _einsum("...ij,...nj->...ni", K**2, jnp.exp(log_var))
        return jnp.log(xy**2 / z**2 * (c[..., :2] / xy**2 + jnp.exp(log_var[..., 2:]) / z**2))
    f = jnp.stack([K[..., 0, 0], K[..., 1, 1]], -1)[..., None, :]
    # log-sum-exp keeps gradients finite for very small variances
    lateral = log_var[..., :2]
    depth = 2 * jnp.log(jnp.abs(xy / z) + 1e-12) + log_var[..., 2:]
    return 2 * jnp.log(f / jnp.abs(z)) + jnp.logaddexp(lateral, depth)


def project_weak(points: jax.Array, camera: jax.Array) -> jax.Array:
    """Weak-perspective 2D (...,N,2) in [-1,1] of the crop: |s| (X_xy + t), camera (...,3) = (s, t)."""
    return jnp.abs(camera[..., None, :1]) * (points[..., :2] + camera[..., None, 1:])


def weak_view(
    vertices: jax.Array, camera: jax.Array, size: int, *, quirks: bool = False
) -> tuple[jax.Array, jax.Array]:
    """The perspective camera with which a weak-perspective view is drawn.

    Args:
      vertices: (B,V,3) m.
      camera: (B,3) = (s, tx, ty).
      size: the crop's side, px.
      quirks: as published: a mesh that is already at a distance is moved away once more.
    Returns:
      K (B,3,3) in crop pixels, and the translation (B,3) m that brings the vertices before it.
    """
    K, shift = render.weak_perspective_camera(camera, (size, size), FOCAL_224 * size / 224)
    if not quirks:
        shift = shift.at[:, 2].add(-vertices[..., 2].mean(-1))
    return K, shift


def project_weak_log_var(log_var: jax.Array, camera: jax.Array) -> jax.Array:
    """Log-variance (...,N,2) of the weak-perspective projection: log s^2 + log_var_xy."""
    return jnp.log(camera[..., None, :1] ** 2) + log_var[..., :2]


def regressed(regressor: jax.Array, vertices: jax.Array) -> jax.Array:
    """Joints (...,J,3) m that a regressor (J,V) makes of vertices (...,V,3)."""
    return _einsum("jv,...vc->...jc", regressor, vertices)


def regressed_log_var(regressor: jax.Array, log_var: jax.Array) -> jax.Array:
    """Log-variance of regressed joints: log sum_v A_jv^2 exp(log_var_v). (J,V), (...,V,3) -> (...,J,3)."""
    return jnp.log(_einsum("jv,...vc->...jc", regressor**2, jnp.exp(log_var)))


def sample_gaussian(
    mu: jax.Array, log_var: jax.Array, step: jax.Array, eps: jax.Array
) -> jax.Array:
    """Reparameterised sample mu + exp(log_var / 2) eps step; step (B,1) is a learned factor a sample."""
    step = step.reshape(step.shape[:1] + (1,) * (mu.ndim - 1))
    return mu + jnp.exp(log_var / 2) * eps * step
