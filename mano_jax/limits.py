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
    # A flexed pinky turns in under the ring finger.
    roll = np.clip(flexion[:, 2, 0], 0.0, 90.0) * -0.08
    pose = np.zeros((n, 16, 3))
    pose[:, 1:] = rng.normal(0.0, 1.2, (n, 15, 3))
    pose[:, 1:13, 2] = flexion.reshape(n, 12)
    pose[:, 1:13:3, 1] += side
    pose[:, 7, 0] += roll
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
