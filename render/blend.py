"""From the faces of a pixel to its colour: how layers are weighed against each other and the background."""

import jax
import jax.numpy as jnp
import numpy as np

from render.fragments import Fragments

LEAST = 1e-10


def coverage(fragments: Fragments, sigma: float) -> jax.Array:
    """How much each face covers its pixel: sigmoid(-dists / sigma), 0 where empty.

    Args:
      fragments: with P faces per pixel.
      sigma: softness, squared normalised units.

    Returns:
      (..., H, W, P) in [0, 1].
    """
    return jnp.where(fragments.mask, jax.nn.sigmoid(-fragments.dists / sigma), 0.0)


def alpha(fragments: Fragments, sigma: float = 1e-4) -> jax.Array:
    """Soft silhouette: 1 - prod_k (1 - coverage_k) (SoftRas; Liu et al., ICCV 2019).

    Args:
      fragments: with P faces per pixel.
      sigma: softness, squared normalised units.

    Returns:
      (..., H, W) in [0, 1].
    """
    return 1.0 - jnp.prod(1.0 - coverage(fragments, sigma), axis=-1)


def softmax_blend(
    colors: jax.Array,
    fragments: Fragments,
    sigma: float = 1e-4,
    gamma: float = 1e-4,
    background: jax.Array | float = 1.0,
    znear: jax.Array | float = 1.0,
    zfar: jax.Array | float = 100.0,
) -> jax.Array:
    """Colours weighed by coverage and by a softmax over nearness (SoftRas; Liu et al., ICCV 2019).

    With z_k' = (zfar - z_k) / (zfar - znear), w_k = coverage_k exp((z_k' - max z') / gamma) and
    the background's weight max(exp((1e-10 - max z') / gamma), 1e-10), as in PyTorch3D.

    Args:
      colors: (..., H, W, P, C), of `shade`.
      fragments: with P faces per pixel.
      sigma: softness of outlines, squared normalised units.
      gamma: temperature over depth.
      background: colour where nothing is, a number, (C,), or (..., H, W, C).
      znear, zfar: depths between which nearness falls from 1 to 0, m; numbers or (...).

    Returns:
      (..., H, W, C).
    """
    znear, zfar = (jnp.asarray(z, colors.dtype)[..., None, None, None] for z in (znear, zfar))
    nearness = jnp.where(fragments.mask, (zfar - fragments.zbuf) / (zfar - znear), 0.0)
    # It scales all weights alike: the result does not depend on it.
    nearest = jnp.max(jax.lax.stop_gradient(nearness), axis=-1, keepdims=True)
    nearest = jnp.maximum(nearest, LEAST)
    weights = coverage(fragments, sigma) * jnp.exp((nearness - nearest) / gamma)
    of_background = jnp.maximum(jnp.exp((LEAST - nearest) / gamma), LEAST)
    total = jnp.sum(weights, axis=-1, keepdims=True) + of_background
    blended = jnp.einsum("...k,...kc->...c", weights, colors, precision=jax.lax.Precision.HIGHEST)
    return (blended + of_background * background) / total


def hard_blend(
    colors: jax.Array, fragments: Fragments, background: jax.Array | float = 1.0
) -> jax.Array:
    """The nearest face's colour, or the background.

    Args:
      colors: (..., H, W, P, C), of `shade`.
      fragments: with P faces per pixel.
      background: colour where nothing is, a number, (C,), or (..., H, W, C).

    Returns:
      (..., H, W, C).
    """
    return jnp.where(fragments.mask[..., :1], colors[..., 0, :], background)


def blur_radius(sigma: float, least: float = 1e-4) -> float:
    """The squared distance, normalised units, at which a face's coverage falls to `least`."""
    return float(np.log(1.0 / least - 1.0) * sigma)
