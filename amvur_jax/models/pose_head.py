"""The hand's pose from 21 joints in 2.5D and the image feature: an MLP that looks at its own answer again.

In the place of the published rotation, pose and translation heads, linear maps of the image feature to
axis-angles, which from scratch learn no more than the mean hand. Here the wrist's rotation is two columns of
its matrix (Zhou et al., On the Continuity of Rotation Representations, CVPR 2019), the answer is corrected by
what its own joints miss (Carreira et al., Iterative Error Feedback, CVPR 2016), and the place before the
camera is no guess: it is the one from which the joints are seen where they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx

from amvur_jax.models.cameras import project_sides, relative_depth
from amvur_jax.models.initial import Draws, he_normal, normal
from amvur_jax.models.layers import layer_norm, linear
from mano_jax.skeleton import Skeleton

TURNS = 3  # how often the head answers, each time better
_HALF = 0.05  # crops' sides that joints are off of which there is half a confidence

A = TypeVar("A", bound=Any)  # an array


class Keypoints(NamedTuple):
    """21 joints as seen in the crop, whoever saw them.

    Attributes:
      xy: (B,21,2) in [0,1] of the crop.
      depth: (B,21) behind the wrist, in crops' sides at the wrist's own distance.
      weight: (B,21) the `confidence` in each, 0 to 1; 0: missing.
      depth_weight: (B,21) likewise; 0: without a depth.
    """

    xy: jax.Array
    depth: jax.Array
    weight: jax.Array
    depth_weight: jax.Array


def confidence(off: A) -> A:
    """How much joints count that may be this far off, crops' sides or hands: 1 to 0."""
    return 1 / (1 + (off / _HALF) ** 2)


class Pose(NamedTuple):
    """rotation (B,3,3), coefficients (B,n), betas (B,10), translation (B,3) m of the wrist's frame."""

    rotation: jax.Array
    coefficients: jax.Array
    betas: jax.Array
    translation: jax.Array


class Turns(NamedTuple):
    """All T answers, each better than the last: a Pose of (T,B,...), joints (T,B,21,3) m, camera (B,4)."""

    pose: Pose
    joints: jax.Array
    camera: jax.Array


def whole_pose(fingers: jax.Array) -> jax.Array:
    """(...,16,3) of fingers (...,15,3): the root's own rotation is (pi, 0, 0), MANO's axes with y down.

    As published; what turns the hand besides, turns it about the origin.
    """
    root = jnp.broadcast_to(jnp.array([jnp.pi, 0.0, 0.0]), fingers[..., :1, :].shape)
    return jnp.concatenate([root, fingers], -2)


def rotation_of(six: jax.Array) -> jax.Array:
    """Rotation matrices (...,3,3) of two columns (...,6), made orthonormal one after the other."""
    a, b = six[..., :3], six[..., 3:]
    a = a / jnp.sqrt((a**2).sum(-1, keepdims=True) + 1e-8)
    b = b - (a * b).sum(-1, keepdims=True) * a
    b = b / jnp.sqrt((b**2).sum(-1, keepdims=True) + 1e-8)
    return jnp.stack([a, b, jnp.cross(a, b)], -1)


def placed(points: A, xy: A, weight: A, camera: A) -> A:
    """The translation with which a camera sees points best where they are; of numpy's arrays or JAX's.

    The spread of what they lack, X - ray Z, over the spread of the rays is the distance, whatever else is
    wrong with the points; the means of both then give the rest.

    Args:
      points: (B,J,3) m.
      xy: (B,J,2) px, or any unit.
      weight: (B,J).
      camera: (B,4) fx, cx, fy, cy in the same unit.
    Returns:
      (B,3) m.
    """
    xp = points.__array_namespace__()
    f, c = camera[:, None, ::2], camera[:, None, 1::2]
    w = weight[..., None] / (weight.sum(-1)[:, None, None] + 1e-6)
    ray = (xy - c) / f
    off = ray * points[..., 2:] - points[..., :2]
    ray_mean, off_mean = (w * ray).sum(1, keepdims=True), (w * off).sum(1, keepdims=True)
    off_spread, ray_spread = (
        xp.sqrt((w * (x - mean) ** 2).sum((1, 2)) + 1e-8)
        for x, mean in ((off, off_mean), (ray, ray_mean))
    )
    z = (off_spread / ray_spread)[:, None]
    return xp.concatenate([off_mean[:, 0] + z * ray_mean[:, 0], z], -1)


def taken(
    keypoints: Keypoints | None,
    given: jax.Array | None,
    on_map: tuple[jax.Array | None, jax.Array | None, jax.Array | None],
    with_depth: bool = True,
) -> Keypoints:
    """The Keypoints that the pose head sees: from outside, of the map, or of either as `given` (B,) says.

    The map is not moved by what is made of it: it learns where the joints are. on_map: its joints, depths and
    blur, how far off they may be. with_depth: whether its depths are told; without 3D labels nothing teaches
    them.
    """
    xy, depth, blur = on_map
    if xy is None or depth is None or blur is None:
        if keypoints is None:
            raise ValueError("keypoints: this network reads none off its map; they must be given")
        return keypoints
    stop = jax.lax.stop_gradient
    sure = confidence(stop(blur))
    read = Keypoints(stop(xy), stop(depth), sure, sure if with_depth else 0 * sure)
    if keypoints is None:
        return read
    if given is None:
        return keypoints

    def either(a: jax.Array, b: jax.Array) -> jax.Array:
        return jnp.where(given.reshape(-1, *[1] * (a.ndim - 1)) > 0, a, b)

    return jax.tree.map(either, keypoints, read)


class PoseHead(nnx.Module):
    """Keypoints and an image feature -> Pose."""

    def __init__(
        self, features: int, components: int, *, hidden: int = 512, blocks: int = 2, rngs: Draws
    ) -> None:
        self.components = components
        answer = 6 + components + 10
        self.feature_norm = layer_norm(features, rngs=rngs)
        self.feature = linear(features, 128, rngs=rngs)
        inputs = 21 * 5 + 128 + 1 + answer + 21 * 4
        self.first = linear(inputs, hidden, kernel_init=he_normal, rngs=rngs)
        self.blocks = nnx.List([Residual(hidden, rngs=rngs) for _ in range(blocks)])
        self.norm = layer_norm(hidden, rngs=rngs)
        small = normal(0.001)
        self.out = linear(hidden, answer, kernel_init=small, rngs=rngs)

    def pose(
        self, answer: jax.Array, keypoints: Keypoints, camera: jax.Array, bones: Skeleton
    ) -> tuple[Pose, jax.Array]:
        """The Pose of an answer and its joints (B,21,3) m before the camera."""
        n = self.components
        rotation = rotation_of(answer[:, :6])
        coefficients, betas = answer[:, 6 : 6 + n], answer[:, 6 + n :]
        fingers = bones.tips.finger_pose(coefficients)
        joints = bones.joints_21(whole_pose(fingers), betas)
        joints = jnp.einsum("bij,bkj->bki", rotation, joints, precision="highest")
        translation = placed(joints, keypoints.xy, keypoints.weight, camera)
        return Pose(rotation, coefficients, betas, translation), joints + translation[:, None]

    def __call__(
        self,
        keypoints: Keypoints,
        feature: jax.Array,
        has_feature: jax.Array,
        camera: jax.Array,
        bones: Skeleton,
    ) -> Turns:
        """The Turns of keypoints, feature (B,features), has_feature (B,) 0 or 1, camera (B,4) in sides."""
        xy, depth, weight, depth_weight = keypoints
        there, deep = (1.0 * (w > 0) for w in (weight, depth_weight))
        w = weight[..., None] / (weight.sum(-1)[:, None, None] + 1e-6)
        centre = (w * xy).sum(1, keepdims=True)
        scale = jnp.sqrt((w * (xy - centre) ** 2).sum((1, 2)) + 1e-6)[:, None]
        seen_xy = (xy - centre) / scale[..., None] * there[..., None]
        seen_z = depth / scale * deep
        feature = self.feature(self.feature_norm(feature)) * has_feature[:, None]
        seen = jnp.concatenate(
            [flat(seen_xy), seen_z, weight, depth_weight, feature, has_feature[:, None]], -1
        )
        start = jnp.zeros((len(xy), 6 + self.components + 10)).at[:, jnp.array([0, 4])].set(1.0)

        def turn(
            before: tuple[jax.Array, jax.Array], _: None
        ) -> tuple[tuple[jax.Array, jax.Array], tuple[Pose, jax.Array]]:
            answer, joints = before
            z = relative_depth(joints, camera[:, 0]) / scale
            miss_xy = (xy - project_sides(joints, camera)) / scale[..., None] * there[..., None]
            miss_z = (depth / scale - z) * deep
            missed = jnp.clip(jnp.concatenate([flat(miss_xy), miss_z], -1), -3, 3)
            own = jax.lax.stop_gradient(jnp.concatenate([answer, missed, z], -1))
            x = self.first(jnp.concatenate([seen, own], -1))
            for block in self.blocks:
                x = block(x)
            answer = answer + self.out(self.norm(x))
            pose, joints = self.pose(answer, keypoints, camera, bones)
            return (answer, joints), (pose, joints)

        # A loop and no repetition: the chain of joints is slow to compile.
        before = (start, self.pose(start, keypoints, camera, bones)[1])
        _, (pose, joints) = jax.lax.scan(turn, before, length=TURNS)
        return Turns(pose, joints, camera)


def flat(x: jax.Array) -> jax.Array:
    """(B,...) as (B,n)."""
    return x.reshape(len(x), -1)


class Residual(nnx.Module):
    """x + W2 gelu(W1 norm(x))."""

    def __init__(self, width: int, *, rngs: Draws) -> None:
        self.norm = layer_norm(width, rngs=rngs)
        self.up = linear(width, width, kernel_init=he_normal, rngs=rngs)
        self.down = linear(width, width, kernel_init=normal(0.01), rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return x + self.down(jax.nn.gelu(self.up(self.norm(x))))
