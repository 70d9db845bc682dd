"""Texture features: the backbone's maps sampled at the projected vertices (paper, section 3.3)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp


def axis_taps(
    u: jax.Array, length: int, *, quirks: bool = False
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """The two pixels and weights of linear interpolation at u (pixel centres at integers).

    Outside the map the border pixel has weight 1 (published, below 0: weight 2) and no gradient.
    """
    inside = (u >= 0) & (u < length - 1)
    low = jnp.clip(jnp.floor(u), 0, max(length - 2, 0)).astype(jnp.int32)
    high = jnp.minimum(low + 1, length - 1)
    fraction = jnp.where(inside, u - low, jnp.where(u < 0, 0.0, 1.0))
    first = 1 - fraction
    if quirks:
        first = jnp.where(u < 0, 2.0, first)
    return (low, first), (high, fraction)


def sample_map(features: jax.Array, points: jax.Array, *, quirks: bool = False) -> jax.Array:
    """Bilinear samples of features (B,H,W,C) at points (B,N,2) in map pixels, centres at +0.5 -> (B,N,C)."""
    b, h, w, c = features.shape
    flat = features.reshape(b, h * w, c)
    total: jax.Array | float = 0.0
    for row, row_weight in axis_taps(points[..., 1] - 0.5, h, quirks=quirks):
        for column, column_weight in axis_taps(points[..., 0] - 0.5, w, quirks=quirks):
            pixels = jnp.take_along_axis(flat, (row * w + column)[..., None], 1)
            total = total + pixels * (row_weight * column_weight)[..., None]
    return total  # type: ignore[return-value]  # no number by now


def vertex_features(
    maps: Sequence[jax.Array],
    positions: jax.Array,
    unit: float | None = None,
    *,
    quirks: bool = False,
) -> jax.Array:
    """Features of all maps at vertices: sum of channels wide, in the maps' order.

    Args:
      maps: list of (B,H,W,C).
      positions: (B,V,2) in [0,1] of the crop.
      unit: None, each map's own size; or the published code's unit (quirk 1), the same for all maps.
    Returns:
      (B,V,sum C).
    """
    sampled = []
    for features in maps:
        h, w = features.shape[1:3]
        scale = jnp.array([w, h]) if unit is None else unit
        sampled.append(sample_map(features, positions * scale, quirks=quirks))
    return jnp.concatenate(sampled, -1)
