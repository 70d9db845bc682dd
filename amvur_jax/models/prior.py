"""The prior-net: heads on the global feature that drive the hand model and the cameras."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.initial import Draws, constant, normal
from amvur_jax.models.layers import linear
from amvur_jax.models.pose_head import PoseHead, whole_pose
from mano_jax import HandModel
from mano_jax.rotations import rotation_matrix
from mano_jax.topology import MODEL_TO_MANO21

if TYPE_CHECKING:
    from amvur_jax.models.amvur import AmvurConfig


class Head(nnx.Module):
    """Linear, Linear, with no activation between (as published)."""

    def __init__(
        self,
        in_features: int,
        out: int,
        *,
        hidden: int = 512,
        std: float | None = None,
        bias: Sequence[float] | None = None,
        rngs: Draws,
    ) -> None:
        init = {} if std is None else {"kernel_init": normal(std)}
        bias_init = None if bias is None else constant(bias)
        self.hidden = linear(in_features, hidden, rngs=rngs, **init)
        self.out = linear(hidden, out, rngs=rngs, bias_init=bias_init, **init)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(self.hidden(x))


class PriorNet(nnx.Module):
    """All heads on g (B,features); `config` is an AmvurConfig."""

    def __init__(self, config: AmvurConfig, *, rngs: Draws) -> None:
        g = config.backbone.features
        # 10 betas ride behind the pose coefficients, of the mean and of the log-variance.
        pose = 2 * (config.pose_components + 10)
        small = 0.001 if config.centred_heads else None
        step = config.step_init
        head = functools.partial(Head, g, hidden=config.head_hidden, rngs=rngs)
        published = config.pose_head == "published"
        if published:
            self.rotation = head(3, std=small)
        self.pose = head(pose, std=small)
        self.scale = head(1, std=0.001, bias=[0.95])
        if published:
            self.translation = head(3, std=0.001, bias=[0.0, 0.0, 0.65])
        self.camera = head(4, std=0.001, bias=config.camera_init)
        self.camera_log_var = head(4, std=small)
        if published:
            self.weak_camera = head(3, std=small, bias=config.weak_camera_init)
            self.weak_camera_log_var = head(3, std=small)
        else:
            self.residual = PoseHead(
                g,
                config.pose_components,
                hidden=config.pose_hidden,
                blocks=config.pose_blocks,
                rngs=rngs,
            )
        step_init: dict[str, Any] = {} if step is None else {"std": 1e-6, "bias": [step]}
        one = {} if step is None else {"kernel_init": normal(1e-6)}
        bias = None if step is None else constant([step])
        self.step_3d = Head(
            (21 + config.vertices) * 3, 1, hidden=config.head_hidden, rngs=rngs, **step_init
        )
        self.step_2d = linear(21 * 2, 1, rngs=rngs, bias_init=bias, **one)
        self.step_camera = linear(4, 1, rngs=rngs, bias_init=bias, **one)


def hand_pass(
    hand: HandModel, rotation: jax.Array, coefficients: jax.Array, betas: jax.Array | None
) -> tuple[jax.Array, jax.Array]:
    """One pass of the hand model as the prior-net uses it.

    The root's own rotation is fixed at (pi, 0, 0); then everything is turned about the origin.

    Args:
      hand: mano_jax.HandModel.
      rotation: (B,3) axis-angle of the whole hand, or (B,3,3).
      coefficients: (B,n) pose coefficients on top of the mean pose.
      betas: (B,10) or None for the mean shape.
    Returns:
      points (B,21+V,3) m: 21 joints in MANO's order with tips, then the vertices; pose (B,16,3).
    """
    fingers = hand.finger_pose(coefficients)
    pose = whole_pose(fingers)
    posed = hand.with_shape(betas).with_pose(pose)
    matrix = rotation if rotation.ndim == 3 else rotation_matrix(rotation)
    posed = posed.moved(matrix)
    joints = posed.joints_21("freihand")[..., MODEL_TO_MANO21, :]
    return jnp.concatenate([joints, posed.vertices], -2), pose
