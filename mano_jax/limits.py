"""How far a human hand bends: the pose limits of the AMVUR pose prior, and poses within them."""

import numpy as np

# Degrees; columns are the x, y, z components of the axis-angle vector. On fingers z is flexion.
_FINGER_1 = ((-5, 5), (-10, 10), (-10, 100))
_FINGER_23 = ((-5, 5), (-5, 5), (-10, 100))
_PINKY_1 = ((-20, 5), (-10, 20), (-10, 100))
_THUMB_1 = ((0, 90), (-22.5, 33.75), (-22.5, 22.5))
_THUMB_2 = ((-5, 5), (-5, 5), (-22.5, 22.5))
_THUMB_3 = ((-5, 5), (-5, 5), (-20, 100))

# The wrist's own rotation is fixed at (pi, 0, 0) in AMVUR: these bounds are in radians.
_ROOT = ((3.13, 3.15), (-0.01, 0.01), (-0.01, 0.01))

_FINGERS = np.deg2rad(
    [
        *(_FINGER_1, _FINGER_23, _FINGER_23),  # index
        *(_FINGER_1, _FINGER_23, _FINGER_23),  # middle
        *(_PINKY_1, _FINGER_23, _FINGER_23),  # pinky
        *(_FINGER_1, _FINGER_23, _FINGER_23),  # ring
        *(_THUMB_1, _THUMB_2, _THUMB_3),  # thumb
    ]
)
_LIMITS = np.concatenate([np.array([_ROOT]), _FINGERS]).astype(np.float32)

# Bounds of each joint's axis-angle components in MANO's joint order, (16, 3), radians.
POSE_LOW = _LIMITS[..., 0]
POSE_HIGH = _LIMITS[..., 1]


def sample_pose(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw poses of a healthy hand: fingers curl together, spread little, stay within the limits.

    Args:
      rng: numpy Generator.
      n: number of poses.

    Returns:
      (n, 16, 3) float32 axis-angle, radians, MANO's joint order; zero is the flat hand, and the
      wrist's row is zero.
    """
    # What the hand does as a whole: curl at the knuckles, curl of the finger joints, spread.
    knuckle, curl = rng.beta(1.3, 2.2, (2, n, 1))
    spread = rng.normal(0.0, 4.0, (n, 1))
    own = rng.beta(1.3, 2.2, (2, n, 4))
    knuckle = 0.55 * knuckle + 0.45 * own[0]
    curl = 0.3 * knuckle + 0.4 * curl + 0.3 * own[1]
    # Index, middle, pinky, ring: degrees.
    flexion = np.stack([90 * knuckle - 6, 108 * curl - 4, 68 * curl - 3], axis=-1)
    flexion += rng.normal(0.0, (4.0, 4.0, 3.0), flexion.shape)
    # A bent knuckle has no room to spread; spreading parts index from ring and pinky.
    open_ = 1.0 - np.clip(flexion[..., 0] / 90.0, 0.0, 1.0)
    side = spread * open_ * np.array([1.0, 0.0, -1.2, -0.7]) + rng.normal(0.0, 1.5, (n, 4))
    pose = _fingers(rng.normal(0.0, 1.2, (n, 15, 3)), flexion, side)
    opposition = rng.beta(1.6, 2.2, n)
    pose[:, 13, 0] += 60.0 * opposition
    pose[:, 13, 1] += rng.normal(6.0, 9.0, n) - 8.0 * opposition
    pose[:, 13, 2] += rng.normal(0.0, 5.0, n)
    pose[:, 14, 2] += 16.0 * opposition - 6.0 + rng.normal(0.0, 5.0, n)
    pose[:, 15, 2] += 55.0 * rng.beta(1.3, 2.0, n) - 8.0
    pose = np.deg2rad(pose).astype(np.float32)
    pose[:, 1:] = np.clip(pose[:, 1:], POSE_LOW[1:], POSE_HIGH[1:])
    pose[:, 0] = 0.0
    return pose


def _fingers(noise: np.ndarray, flexion: np.ndarray, side: np.ndarray) -> np.ndarray:
    """(n, 16, 3) degrees: joints off by noise (n, 15, 3), four fingers bent by flexion (n, 4, 3) and turned
    aside by side (n, 4), in the order index, middle, pinky, ring."""
    n = len(noise)
    pose = np.zeros((n, 16, 3))
    pose[:, 1:] = noise
    pose[:, 1:13, 2] = flexion.reshape(n, 12)
    pose[:, 1:13:3, 1] += side
    # A flexed pinky turns in under the ring finger.
    pose[:, 7, 0] += np.clip(flexion[:, 2, 0], 0.0, 90.0) * -0.08
    return pose


# What a finger does by itself: mean and spread, degrees, of its three flexions.
_STATES = np.array(
    [
        [[5, 8], [6, 6], [3, 5]],  # straight
        [[80, 12], [92, 12], [50, 15]],  # closed
        [[10, 15], [85, 15], [50, 15]],  # hooked
        [[72, 15], [10, 10], [5, 5]],  # bent at the knuckle alone
        [[40, 28], [50, 32], [28, 22]],  # anything
    ]
)
_STATE_SHARES = (0.4, 0.22, 0.08, 0.06, 0.24)
# How far wide poses may leave the limits, degrees: real hands do.
_SLACK = np.deg2rad([6.0, 10.0, 8.0])


def sample_wide_pose(rng: np.random.Generator, n: int) -> np.ndarray:
    """Draw poses that signs and grips are made of: each finger may do something else than its neighbour.

    A third of them are those of `sample_pose`.

    Args:
      rng: numpy Generator.
      n: number of poses.

    Returns:
      (n, 16, 3) float32, as of `sample_pose`, up to 10 degrees beyond the limits.
    """
    state = rng.choice(len(_STATES), (n, 4), p=_STATE_SHARES)
    # From the index to the pinky, a finger goes along with its neighbour now and then.
    for finger in range(1, 4):
        along = rng.random(n) < 0.45
        state[along, finger] = state[along, finger - 1]
    draw = _STATES[state]
    flexion = draw[..., 0] + draw[..., 1] * rng.normal(size=(n, 4, 3))
    flexion = flexion[:, [0, 1, 3, 2]]  # index, middle, pinky, ring
    open_ = 1.0 - np.clip(flexion[..., 0] / 90.0, 0.0, 1.0)
    side = rng.normal(0.0, 7.0, (n, 1)) * np.array([1.0, 0.0, -1.2, -0.7])
    side = open_ * (side + rng.normal(0.0, 4.0, (n, 4)))
    pose = _fingers(rng.normal(0.0, 2.0, (n, 15, 3)), flexion, side)
    opposition = rng.beta(1.1, 1.1, n)
    pose[:, 13, 0] += 80.0 * opposition
    pose[:, 13, 1] += rng.normal(5.0, 13.0, n) - 8.0 * opposition
    pose[:, 13, 2] += rng.normal(0.0, 9.0, n)
    pose[:, 14, 2] += 16.0 * opposition - 6.0 + rng.normal(0.0, 9.0, n)
    pose[:, 15, 2] += 100.0 * rng.beta(0.9, 1.5, n) - 15.0
    pose = np.deg2rad(pose).astype(np.float32)
    pose[:, 1:] = np.clip(pose[:, 1:], POSE_LOW[1:] - _SLACK, POSE_HIGH[1:] + _SLACK)
    pose[:, 0] = 0.0
    usual = rng.random(n) < 1 / 3
    pose[usual] = sample_pose(rng, int(usual.sum()))
    return pose.astype(np.float32)
