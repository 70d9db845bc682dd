"""The joints of a posed hand without its mesh: for what moves a million hands and draws none."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mano_jax.model import HandModel, PosedHand, ShapedHand
from mano_jax.topology import HO3D_TO_MODEL, fingertip_vertices

_einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The 21 joints of a hand as functions of shape and pose, about 40 times cheaper than the mesh.

    Attributes:
      tips: the hand cut down to its five fingertip vertices.
      joints: (16, 3) of the mean shape at rest, metres, MANO's order.
      directions: (16, 3, 10) joint displacement by each beta.
    """

    tips: HandModel
    joints: jax.Array
    directions: jax.Array

    def posed(self, pose: jax.Array | np.ndarray, betas: jax.Array | None = None) -> PosedHand:
        """The hand in a pose, its vertices only the five fingertips.

        Args:
          pose: (..., 16, 3) axis-angle, radians, MANO's joint order, as of ShapedHand.with_pose.
          betas: (..., n) with n <= 10, or None for the mean shape.
        """
        joints, vertices = self.joints, self.tips.v_template
        if betas is not None:
            n = betas.shape[-1]
            joints = joints + _einsum("jck,...k->...jc", self.directions[..., :n], betas)
            vertices = vertices + _einsum("vck,...k->...vc", self.tips.shapedirs[..., :n], betas)
        return ShapedHand(hand=self.tips, vertices=vertices, joints=joints).with_pose(pose)

    def joints_21(self, pose: jax.Array | np.ndarray, betas: jax.Array | None = None) -> jax.Array:
        """(..., 21, 3) metres, the model's order: what PosedHand.joints_21 gives of the whole mesh."""
        posed = self.posed(pose, betas)
        return jnp.concatenate([posed.joints, posed.vertices], axis=-2)[..., HO3D_TO_MODEL, :]


def skeleton(hand: HandModel, fingertips: str = "manopth") -> Skeleton:
    """The Skeleton of a hand, its tips a preset of topology.FINGERTIPS.

    Raises:
      ValueError: no such preset.
    """
    ids = fingertip_vertices(fingertips, hand.side)
    tips = dataclasses.replace(
        hand,
        v_template=hand.v_template[ids],
        shapedirs=hand.shapedirs[ids],
        posedirs=hand.posedirs[ids],
        weights=hand.weights[ids],
        joint_regressor=hand.joint_regressor[:, :0],
        faces=hand.faces[:0],
        coarse=hand.coarse[:, :0],
    )
    return Skeleton(
        tips=tips,
        joints=_einsum("jv,vc->jc", hand.joint_regressor, hand.v_template),
        directions=_einsum("jv,vck->jck", hand.joint_regressor, hand.shapedirs),
    )
