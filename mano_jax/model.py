"""The MANO hand model (Romero, Tzionas, Black, SIGGRAPH Asia 2017) as staged, immutable pytrees.

    hand = load_hand()                                 # what every hand shares
    shaped = hand.with_shape(betas)                    # one person's hand, at rest
    posed = shaped.with_pose(pose)                     # that hand, bent
    posed.vertices, posed.joints

Every stage broadcasts over leading batch axes, so one function serves one hand or a million.
"""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from mano_jax.rotations import rotation_matrix
from mano_jax.topology import HO3D_TO_MODEL, fingertip_vertices

# The hand costs next to nothing, and a coarse product (TF32, bfloat16) moves it by millimetres.
_einsum = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


def _matmul3(a: jax.Array | np.ndarray, b: jax.Array) -> jax.Array:
    # Written out: a sum that XLA fuses, in full precision on every device.
    return jnp.sum(a[..., :, :, None] * b[..., None, :, :], axis=-2)


def _matvec3(a: jax.Array | np.ndarray, b: jax.Array) -> jax.Array:
    return jnp.sum(a * b[..., None, :], axis=-1)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "v_template",
        "shapedirs",
        "posedirs",
        "joint_regressor",
        "weights",
        "components",
        "mean_pose",
        "faces",
        "coarse",
    ),
    meta_fields=("parents", "side", "name"),
)
@dataclasses.dataclass(frozen=True)
class HandModel:
    """A hand model: template, shape and pose directions, joints, skinning. Metres, float32.

    Attributes:
      v_template: (V, 3) rest mesh.
      shapedirs: (V, 3, 10) vertex displacement by each beta.
      posedirs: (V, 3, 135) vertex displacement by each entry of R - I of the 15 finger joints.
      joint_regressor: (16, V) joints from the shaped rest mesh.
      weights: (V, 16) skinning weights, rows sum to 1.
      components: (45, 45) principal components of the finger pose, in rows.
      mean_pose: (45,) finger pose at zero coefficients, radians.
      faces: (F, 3) int32, counter-clockwise from outside.
      coarse: (195, V) coarse mesh from the full one.
      parents: parent of each of the 16 joints, -1 for the wrist.
      side: "right" or "left".
      name: where the model comes from.
    """

    v_template: jax.Array
    shapedirs: jax.Array
    posedirs: jax.Array
    joint_regressor: jax.Array
    weights: jax.Array
    components: jax.Array
    mean_pose: jax.Array
    faces: jax.Array
    coarse: jax.Array
    parents: tuple[int, ...]
    side: str
    name: str

    def finger_pose(self, coefficients: jax.Array | np.ndarray) -> jax.Array:
        """The finger pose of principal-component coefficients, around the mean pose.

        Args:
          coefficients: (..., n) with n <= 45.

        Returns:
          (..., 15, 3) axis-angle, radians, joints 1 to 15 in MANO's order.
        """
        n = coefficients.shape[-1]
        flat = self.mean_pose + _einsum("...n,nk->...k", coefficients, self.components[:n])
        return flat.reshape(*flat.shape[:-1], 15, 3)

    def with_shape(self, betas: jax.Array | np.ndarray | None = None) -> "ShapedHand":
        """Give the hand a person's shape.

        Args:
          betas: (..., n) with n <= 10, or None for the mean shape.

        Returns:
          The shaped hand at rest.
        """
        vertices = self.v_template
        if betas is not None:
            directions = self.shapedirs[..., : betas.shape[-1]]
            vertices = vertices + _einsum("vck,...k->...vc", directions, betas)
        joints = _einsum("jv,...vc->...jc", self.joint_regressor, vertices)
        return ShapedHand(hand=self, vertices=vertices, joints=joints)

    def joint_regressor_21(self, fingertips: str = "amvur") -> jax.Array:
        """The matrix A of AMVUR: the 21 joints, in the model's order, from the posed vertices.

        Args:
          fingertips: a preset of topology.FINGERTIPS; its vertices are those of the hand's side.

        Returns:
          (21, V).

        Raises:
          ValueError: no such preset.
        """
        tips = jax.nn.one_hot(
            fingertip_vertices(fingertips, self.side),
            self.v_template.shape[0],
            dtype=self.weights.dtype,
        )
        return jnp.concatenate([self.joint_regressor, tips])[HO3D_TO_MODEL]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ShapedHand:
    """One person's hand at rest: flat, in MANO's axes.

    Attributes:
      hand: the model.
      vertices: (..., V, 3) metres.
      joints: (..., 16, 3) metres, MANO's order.
    """

    hand: HandModel
    vertices: jax.Array
    joints: jax.Array

    def with_pose(self, pose: jax.Array | np.ndarray) -> "PosedHand":
        """Bend the hand: pose correctives, then linear blend skinning.

        Args:
          pose: (..., 16, 3) axis-angle, radians, MANO's joint order; row 0 turns the whole hand
            about its wrist joint; zero is the flat hand. Batch axes broadcast with the shape's.

        Returns:
          The posed hand.

        Raises:
          ValueError: the pose is not (..., 16, 3).
        """
        hand = self.hand
        if pose.ndim < 2 or pose.shape[-2:] != (len(hand.parents), 3):
            raise ValueError(
                f"pose has shape {pose.shape}: expected (..., {len(hand.parents)}, 3) axis-angle"
            )
        local = rotation_matrix(pose)
        feature = local[..., 1:, :, :] - jnp.eye(3, dtype=local.dtype)
        # The length is spelt out: -1 has no meaning in a batch of no hands.
        feature = feature.reshape(*feature.shape[:-3], hand.posedirs.shape[-1])
        vertices = self.vertices + _einsum("vck,...k->...vc", hand.posedirs, feature)
        rotations, joints = _chain(hand.parents, local, self.joints)
        # x -> R_j (x - rest_j) + posed_j, blended by the weights; written out: loops run along vertices.
        offsets = joints - _matvec3(rotations, self.joints)
        moves = jnp.concatenate([rotations, offsets[..., None]], -1)
        moves = _einsum("...jcd,vj->...cdv", moves, hand.weights)
        x, y, z = (vertices[..., i] for i in range(3))
        rows = (moves[..., i, :, :] for i in range(3))
        vertices = jnp.stack(
            [a[..., 0, :] * x + a[..., 1, :] * y + a[..., 2, :] * z + a[..., 3, :] for a in rows],
            axis=-1,
        )
        return PosedHand(vertices=vertices, joints=joints, rotations=rotations, side=hand.side)


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("vertices", "joints", "rotations"),
    meta_fields=("side",),
)
@dataclasses.dataclass(frozen=True)
class PosedHand:
    """A posed hand.

    Attributes:
      vertices: (..., V, 3) metres.
      joints: (..., 16, 3) metres, of the kinematic chain, MANO's order.
      rotations: (..., 16, 3, 3) of the joints, rest frame to the hand's frame.
      side: "right" or "left".
    """

    vertices: jax.Array
    joints: jax.Array
    rotations: jax.Array
    side: str = "right"

    def joints_21(self, fingertips: str = "manopth") -> jax.Array:
        """The chain's 16 joints and five fingertip vertices, in the model's order.

        Args:
          fingertips: a preset of topology.FINGERTIPS; its vertices are those of the hand's side.

        Returns:
          (..., 21, 3) metres.

        Raises:
          ValueError: no such preset.
        """
        tips = self.vertices[..., fingertip_vertices(fingertips, self.side), :]
        return jnp.concatenate([self.joints, tips], axis=-2)[..., HO3D_TO_MODEL, :]

    def moved(
        self,
        rotation: jax.Array | np.ndarray | None = None,
        translation: jax.Array | np.ndarray | None = None,
    ) -> "PosedHand":
        """The hand turned about the coordinate origin, then shifted.

        Args:
          rotation: (..., 3, 3), or None.
          translation: (..., 3) metres, or None.

        Returns:
          The moved hand.
        """
        vertices, joints, rotations = self.vertices, self.joints, self.rotations
        if rotation is not None:
            vertices = _matvec3(rotation[..., None, :, :], vertices)
            joints = _matvec3(rotation[..., None, :, :], joints)
            rotations = _matmul3(rotation[..., None, :, :], rotations)
        if translation is not None:
            vertices = vertices + translation[..., None, :]
            joints = joints + translation[..., None, :]
        return dataclasses.replace(self, vertices=vertices, joints=joints, rotations=rotations)


def _levels(parents: tuple[int, ...]) -> list[np.ndarray]:
    """Group the joints by their depth in the chain: a level is posed in one step."""
    depth = [0] * len(parents)
    for joint, parent in enumerate(parents):
        if parent >= 0:
            depth[joint] = depth[parent] + 1
    return [np.flatnonzero(np.array(depth) == d) for d in range(max(depth) + 1)]


def _chain(
    parents: tuple[int, ...], local: jax.Array, rest: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Rotations (..., 16, 3, 3) and positions (..., 16, 3) of the joints, parents first."""
    batch = jnp.broadcast_shapes(local.shape[:-3], rest.shape[:-2])
    local = jnp.broadcast_to(local, (*batch, *local.shape[-3:]))
    rest = jnp.broadcast_to(rest, (*batch, *rest.shape[-2:]))
    before, *levels = _levels(parents)
    rotations, joints = _rows(local, before, -3), _rows(rest, before, -2)
    done = [(rotations, joints)]
    for level in levels:
        above = np.array(parents)[level]
        places = np.searchsorted(before, above)
        turn, place = _rows(rotations, places, -3), _rows(joints, places, -2)
        bone = _rows(rest, level, -2) - _rows(rest, above, -2)
        rotations, joints = _matmul3(turn, _rows(local, level, -3)), place + _matvec3(turn, bone)
        done.append((rotations, joints))
        before = level
    order = np.argsort(np.concatenate(_levels(parents)))
    rotations, joints = (jnp.concatenate(x, axis) for x, axis in zip(zip(*done), (-3, -2)))
    return _rows(rotations, order, -3), _rows(joints, order, -2)


def _rows(x: jax.Array, indices: np.ndarray, axis: int) -> jax.Array:
    """x at indices along an axis, as a slice where they are evenly spaced: a look-up compiles slowly."""
    steps = np.unique(np.diff(indices))
    if len(indices) == 1 or (len(steps) == 1 and steps[0] > 0):
        stride = int(steps[0]) if len(steps) else 1
        return jax.lax.slice_in_dim(x, int(indices[0]), int(indices[-1]) + 1, stride, axis)
    if len(steps) == 1 and steps[0] == 0:  # one for all
        one = jax.lax.index_in_dim(x, int(indices[0]), axis)
        shape = list(x.shape)
        shape[axis] = len(indices)
        return jnp.broadcast_to(one, shape)
    return jnp.take(x, indices, axis)
