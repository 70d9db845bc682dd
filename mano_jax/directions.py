"""The embedded hand's shape directions, pose correctives and pose components. Numpy only."""

from typing import Any

import numpy as np

from mano_jax.limits import POSE_HIGH, POSE_LOW, sample_pose
from mano_jax.skinning import blend_dual_quaternion, blend_linear, chain, rotation
from mano_jax.topology import PARENTS

# First joint of each finger in MANO's order, and its row in the tips.
_FINGERS = {"index": (1, 1), "middle": (4, 2), "pinky": (7, 4), "ring": (10, 3), "thumb": (13, 0)}

# One standard deviation of adult hands, in fractions of a length: the palm's length, thickness
# and width; the lengths of a finger's three bones; their girths. A finger named stands for all
# fingers but the thumb, which follows "fingers" where it is not named itself.
_SHAPES: tuple[dict[str, tuple[Any, ...]], ...] = (
    {"palm": (0.05, 0.05, 0.05), "fingers": ((0.05,) * 3, (0.05,) * 3)},  # size
    {"fingers": ((0.05,) * 3, (0.0,) * 3)},  # fingers longer
    {"palm": (0.0, 0.01, 0.05), "fingers": ((0.0,) * 3, (0.02,) * 3)},  # palm wider
    {"palm": (0.0, 0.07, 0.0), "fingers": ((0.0,) * 3, (0.03,) * 3)},  # thicker
    {"fingers": ((-0.04, 0.0, 0.06), (0.0,) * 3)},  # end bones longer
    {"fingers": ((0.0,) * 3, (0.07,) * 3)},  # fingers thicker
    {"thumb": ((0.06,) * 3, (0.03,) * 3)},  # thumb larger
    {"palm": (0.0, 0.0, 0.015), "fingers": ((0.0,) * 3, (0.04, 0.0, -0.05))},  # tapering
    {"index": ((0.04,) * 3, (0.0,) * 3), "ring": ((-0.03,) * 3, (0.0,) * 3)},  # index, ring
    {"pinky": ((0.07,) * 3, (0.01,) * 3), "middle": ((-0.01,) * 3, (0.0,) * 3)},  # pinky longer
)


def shape_directions(
    vertices: np.ndarray, joints: np.ndarray, tips: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Ten ways in which hands differ, each about one standard deviation of adults.

    Every bone scales along and across itself and carries its children; the skin follows by the
    skinning weights, as it does in a pose.

    Args:
      vertices: (V, 3) rest mesh, metres, in MANO's axes.
      joints: (16, 3) metres.
      tips: (5, 3) thumb, index, middle, ring, pinky, metres.
      weights: (V, 16) skinning weights.

    Returns:
      (V, 3, 10) metres per unit of beta.
    """
    ends = np.roll(joints, -1, axis=0)
    for first, tip in _FINGERS.values():
        ends[first + 2] = tips[tip]
    along = ends - joints
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    result = []
    for shape in _SHAPES:
        strain = np.zeros((16, 3, 3))
        strain[0] = np.diag(shape.get("palm", (0.0, 0.0, 0.0)))
        for finger, (first, _) in _FINGERS.items():
            lengths, girths = shape.get(finger, shape.get("fingers", ((0.0,) * 3,) * 2))
            for j, length, girth in zip(range(first, first + 3), lengths, girths):
                strain[j] = girth * np.eye(3) + (length - girth) * np.outer(along[j], along[j])
        shift = np.zeros((16, 3))
        for j in range(1, 16):
            p = PARENTS[j]
            shift[j] = shift[p] + strain[p] @ (joints[j] - joints[p])
        offsets = shift - np.einsum("jab,jb->ja", strain, joints)
        result.append(blend_linear(vertices, weights, strain, offsets)[0])
    return np.stack(result, axis=-1)


def pose_directions(
    vertices: np.ndarray,
    joints: np.ndarray,
    weights: np.ndarray,
    samples: int = 80,
    ridge: float = 1e-3,
    seed: int = 0,
) -> np.ndarray:
    """Correctives that make linear blending bend like dual quaternions: no collapsed knuckles.

    Joint by joint: the difference of the two blends over the joint's range, taken back to the
    rest pose, is fitted linearly in the entries of R - I.

    Args:
      vertices: (V, 3) rest mesh, metres.
      joints: (16, 3) metres.
      weights: (V, 16) skinning weights.
      samples: number of rotations a joint.
      ridge: weight of the squared coefficients, relative to the number of samples.
      seed: of the rotations.

    Returns:
      (V, 3, 135) metres per entry of R - I, joints 1 to 15.
    """
    rng = np.random.default_rng(seed)
    result = np.zeros((len(vertices), 3, 15, 9))
    for j in range(1, 16):
        features, offsets = [], []
        near = weights[:, j] > 0
        for rotvec in rng.uniform(POSE_LOW[j], POSE_HIGH[j], (samples, 3)):
            local = np.stack([np.eye(3)] * 16)
            local[j] = rotation(rotvec, np.linalg.norm(rotvec))
            rotations, posed = chain(joints, PARENTS, local)
            shifts = posed - np.einsum("jab,jb->ja", rotations, joints)
            wanted = blend_dual_quaternion(vertices, weights, rotations, shifts)
            linear, matrices = blend_linear(vertices, weights, rotations, shifts)
            offset = np.linalg.solve(matrices[near], (wanted - linear)[near][..., None])
            features.append((local[j] - np.eye(3)).ravel())
            offsets.append(offset.ravel())
        x, y = np.stack(features), np.stack(offsets)
        fit = np.linalg.solve(x.T @ x + ridge * samples * np.eye(9), x.T @ y)
        result[near, :, j - 1] = fit.T.reshape(-1, 3, 9)
    # A tenth of a micrometre is noise, and zeros pack well.
    return np.round(result.reshape(len(vertices), 3, 135), 7)


def pose_components(n: int = 4000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of anatomical poses.

    Args:
      n: number of sampled poses.
      seed: of the sample.

    Returns:
      components (45, 45), orthonormal rows of falling variance, and mean_pose (45,), radians.
    """
    pose = sample_pose(np.random.default_rng(seed), n)[:, 1:].reshape(n, 45).astype(np.float64)
    mean = pose.mean(0)
    _, _, components = np.linalg.svd(pose - mean, full_matrices=False)
    # A component's sign is arbitrary: its largest entry is made positive.
    largest = np.argmax(np.abs(components), axis=1)
    return components * np.sign(components[np.arange(45), largest])[:, None], mean
