"""Joints read off the feature maps by soft-argmax (Sun et al., Integral Human Pose, ECCV 2018)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.initial import Draws, he_normal, lecun_normal
from amvur_jax.models.layers import convolve, linear


def expected(heat: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Heat maps (B,H,W,J) -> their softmax (B,H*W,J) and the places (B,J,2) in [0,1] that it expects."""
    b, h, w, count = heat.shape
    weights = jax.nn.softmax(heat.reshape(b, h * w, count), 1)
    rows, columns = jnp.meshgrid(
        (jnp.arange(h) + 0.5) / h, (jnp.arange(w) + 0.5) / w, indexing="ij"
    )
    centres = jnp.stack([columns.ravel(), rows.ravel()], -1)
    return weights, jnp.einsum("bpj,pc->bjc", weights, centres, precision="highest")


def blur(weights: jax.Array, size: tuple[int, int], joints: jax.Array) -> jax.Array:
    """How far joints (B,J,2) may be off by their heat (B,H*W,J): its standard deviation (B,J), crop's sides.

    Of both coordinates together, less that of a joint whose place is known: a Gaussian one cell wide, as
    `training.losses.heat_divergence` wants it.
    """
    rows, columns = (((jnp.arange(n) + 0.5) / n) ** 2 for n in size)
    squares = (rows[:, None] + columns).ravel()
    second = jnp.einsum("bpj,p->bj", weights, squares, precision="highest")
    known = sum(1 / n**2 for n in size)
    return jnp.sqrt(jnp.maximum(second - (joints**2).sum(-1) - known, 0.0) + 1e-4)


class KeypointHead(nnx.Module):
    """Heat maps of the finest map -> joints in 2D -> a feature.

    Not in the published network; from random weights it learns place and fingers sooner. The heat (B,H,W,21),
    before its softmax, comes back too: `config.loss.heat` teaches it to lie at the joint, not only its mean.
    """

    def __init__(self, channels: int, features: int, *, hidden: int = 256, rngs: Draws) -> None:
        self.heatmap = nnx.Conv(
            channels,
            21,
            (1, 1),
            padding=((0, 0), (0, 0)),
            kernel_init=lecun_normal,
            conv_general_dilated=convolve,
            rngs=rngs,  # type: ignore[arg-type]  # see Draws
        )
        self.hidden1 = linear(21 * 2, hidden, kernel_init=he_normal, rngs=rngs)
        self.hidden2 = linear(hidden, hidden, kernel_init=he_normal, rngs=rngs)
        self.out = linear(hidden, features, rngs=rngs)

    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """features (B,H,W,C) -> heat, joints (B,21,2) in [0,1] of the crop, feature (B,features)."""
        heat = self.heatmap(features.astype(jnp.float32))
        _, joints = expected(heat)
        x = jax.nn.relu(self.hidden1((joints.reshape(len(joints), -1) - 0.5) * 4))
        return heat, joints, self.out(jax.nn.relu(self.hidden2(x)))


class DepthKeypointHead(nnx.Module):
    """Joints in 2.5D, for the residual pose head: heat and depth maps of all maps and the global feature.

    A joint's depth is its depth map's mean where the joint is seen (Iqbal et al., Hand Pose Estimation via
    Latent 2.5D Heatmap Regression, ECCV 2018). The finest map alone has fewer channels than there are joints.
    """

    def __init__(
        self, channels: Sequence[int], features: int, *, hidden: int = 96, rngs: Draws
    ) -> None:
        for i, width in enumerate(channels):
            setattr(self, f"map{i}", linear(width, hidden, kernel_init=he_normal, rngs=rngs))
        self.whole = linear(features, hidden, rngs=rngs)
        self.heat = linear(hidden, 21, rngs=rngs)
        self.depth = linear(hidden, 21, rngs=rngs)

    def __call__(
        self, maps: Sequence[jax.Array], g: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Maps (B,H,W,C), the finest first, g (B,features) -> heat, joints (B,21,2), depth and blur (B,21).

        heat (B,H,W,21) before its softmax; joints in [0,1]; depth behind the wrist, in crops' sides at its
        distance; blur: of `blur`.
        """
        finest = maps[0].shape[:3]
        total = self.whole(g)[:, None, None]
        for i, features in enumerate(maps):
            part = getattr(self, f"map{i}")(features.astype(jnp.float32))
            total = total + jax.image.resize(part, (*finest, part.shape[-1]), "bilinear")
        x = jax.nn.relu(total)
        heat = self.heat(x)
        weights, joints = expected(heat)
        depth = jnp.sum(weights * self.depth(x).reshape(weights.shape), 1)
        return heat, joints, depth - depth[:, :1], blur(weights, (finest[1], finest[2]), joints)
