"""2D joints read off the finest feature map by soft-argmax, fed back into the global feature."""

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.layers import Rngs, convolve, linear


class KeypointHead(nnx.Module):
    """Heat maps -> expected positions (Sun et al., Integral Human Pose, ECCV 2018) -> a feature.

    Not in the published network; from random weights it learns place and fingers sooner.
    """

    def __init__(
        self, channels: int, features: int, *, depth: bool = False, hidden: int = 256, rngs: Rngs
    ) -> None:
        self.heatmap = nnx.Conv(
            channels,
            21,
            (1, 1),
            padding=((0, 0), (0, 0)),
            conv_general_dilated=convolve,
            rngs=rngs,  # type: ignore[arg-type]  # see Rngs
        )
        if depth:
            self.depth = nnx.Conv(channels, 21, (1, 1), rngs=rngs)  # type: ignore[arg-type]  # see Rngs
        self.hidden1 = linear(21 * 2, hidden, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.hidden2 = linear(hidden, hidden, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
        self.out = linear(hidden, features, rngs=rngs)

    def __call__(self, features: jax.Array) -> tuple[jax.Array, jax.Array | None, jax.Array]:
        """features (B,H,W,C) -> joints (B,21,2) in [0,1] of the crop, depth (B,21), feature (B,features).

        depth: None without that part; behind the wrist, in crops' sides at its distance: a map's mean where
        the joint is seen.
        """
        b, h, w, _ = features.shape
        features = features.astype(jnp.float32)
        weights = jax.nn.softmax(self.heatmap(features).reshape(b, h * w, 21), 1)
        rows, columns = jnp.meshgrid(
            (jnp.arange(h) + 0.5) / h, (jnp.arange(w) + 0.5) / w, indexing="ij"
        )
        centres = jnp.stack([columns.ravel(), rows.ravel()], -1)
        joints = jnp.einsum("bpj,pc->bjc", weights, centres, precision="highest")
        x = jax.nn.relu(self.hidden1((joints.reshape(b, -1) - 0.5) * 4))
        depth = None
        if hasattr(self, "depth"):
            depth = jnp.sum(weights * self.depth(features).reshape(b, h * w, 21), 1)
            depth = depth - depth[:, :1]
        return joints, depth, self.out(jax.nn.relu(self.hidden2(x)))
