"""Colours as the network sees them: ImageNet-normalised RGB."""

import jax
import jax.numpy as jnp
import numpy as np

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


def normalize(image: jax.Array) -> jax.Array:
    """uint8 RGB (...,3) -> float32, zero mean and unit variance over ImageNet."""
    return (image.astype(jnp.float32) / 255 - jnp.array(MEAN)) / jnp.array(STD)


def denormalize(colors: np.ndarray | jax.Array) -> jax.Array:
    """Normalised colours (...,3) -> RGB in [0,1], clipped."""
    return jnp.clip(colors * jnp.array(STD) + jnp.array(MEAN), 0, 1)
