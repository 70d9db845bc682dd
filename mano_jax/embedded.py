"""The recipe of the embedded hand: from a CC0 mesh in its own pose to MANO's layout.

MANO's right hand at rest: fingers straight along -x, thumb towards +z, the back of the hand
towards +y, so that a finger bends into the palm by a positive rotation about z. Numpy only.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from mano_jax import directions
from mano_jax.coarse import coarse_matrix
from mano_jax.skinning import between, blend_dual_quaternion, chain, rotation
from mano_jax.topology import FINGERS, FINGERTIPS, PARENTS

_FIRST = {"index": 1, "middle": 4, "pinky": 7, "ring": 10, "thumb": 13}
# Natural spread of the straight fingers at rest: degrees in the palm's plane, towards the thumb.
_SPREAD = {"index": 5.0, "middle": 0.0, "ring": -7.0, "pinky": -15.0}
# The thumb lies beside the palm, a little below it, rolled at its first two joints so that its
# nail looks up: then its last joint, too, bends about an axis near +z.
_THUMB_LIFT, _THUMB_CLOSE, _THUMB_ROLL = 25.0, 6.0, (22.0, 16.0, 0.0)
# The forearm is cut straight, this far behind the wrist joint.
_CUFF = 0.014
_SMOOTHINGS = 4


def build_hand(source: Mapping[str, ArrayLike]) -> dict[str, np.ndarray]:
    """Make the embedded hand's arrays.

    Args:
      source: mapping with v_template (778, 3), faces, weights (778, 16), J (16, 3) and tips
        (5, 3: thumb, index, middle, ring, pinky), in metres, any axes.

    Returns:
      Dict of the arrays of HandModel.
    """
    vertices, joints, tips = _to_palm_frame(source)
    weights = np.asarray(source["weights"], np.float64)
    weights = weights / weights.sum(1, keepdims=True)
    faces = np.asarray(source["faces"], np.int64)
    # The source marks a tip by its foremost vertex, which may lie off the finger's axis.
    tips = np.stack([_nearest(vertices, tip, 12).mean(0) for tip in tips])
    vertices, joints = _flatten(vertices, joints, tips, weights)
    vertices = _trim_cuff(_smooth(vertices, faces, weights), faces, joints)
    tips = _apexes(vertices, joints, weights)
    order = _vertex_order(vertices, tips, faces)
    vertices, weights = vertices[order], weights[order]
    faces = np.argsort(order)[faces]
    components, mean_pose = directions.pose_components()
    arrays = {
        "v_template": vertices,
        "shapedirs": directions.shape_directions(vertices, joints, tips, weights),
        "posedirs": directions.pose_directions(vertices, joints, weights),
        "weights": weights,
        "components": components,
        "mean_pose": mean_pose,
        "coarse": coarse_matrix(vertices),
    }
    arrays = {k: np.asarray(v, np.float32) for k, v in arrays.items()}
    # From the rounded template: the regressor then gives the joints to the last digit.
    arrays["joint_regressor"] = _joint_regressor(arrays["v_template"], joints).astype(np.float32)
    arrays["faces"] = faces.astype(np.int32)
    return arrays


def _nearest(vertices: np.ndarray, point: np.ndarray, n: int) -> np.ndarray:
    return vertices[np.argsort(np.linalg.norm(vertices - point, axis=1), kind="stable")[:n]]


def _to_palm_frame(source: Mapping[str, ArrayLike]) -> tuple[np.ndarray, ...]:
    """Turn the source so that the palm lies in MANO's axes, its middle knuckle at the origin."""
    joints = np.asarray(source["J"], np.float64)
    along = joints[4] - joints[0]
    along /= np.linalg.norm(along)
    back = np.cross(along, joints[1] - joints[7])
    back /= np.linalg.norm(back)
    frame = np.stack([-along, back, np.cross(back, along)])
    parts = (source["v_template"], joints, source["tips"])
    return tuple((np.asarray(p, np.float64) - joints[4]) @ frame.T for p in parts)


def _flatten(
    vertices: np.ndarray, joints: np.ndarray, tips: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Straighten the fingers with the mesh's own skinning."""
    local = np.stack([np.eye(3)] * 16)
    ends = dict(zip(FINGERS, tips))
    for finger, first in _FIRST.items():
        bones = np.diff(np.stack([*joints[first : first + 3], ends[finger]]), axis=0)
        parent, roll = np.eye(3), (0.0, 0.0, 0.0)
        if finger == "thumb":
            # The metacarpal is lifted as a whole, the two phalanges are made straight.
            close = rotation((0.0, 1.0, 0.0), -np.deg2rad(_THUMB_CLOSE))
            parent = close @ rotation((1.0, 0.0, 0.0), -np.deg2rad(_THUMB_LIFT))
            along = parent @ (bones[1] + bones[2])
            targets, roll = [parent @ bones[0], along, along], _THUMB_ROLL
        else:
            spread = np.deg2rad(_SPREAD[finger])
            targets = [np.array([-np.cos(spread), 0.0, np.sin(spread)])] * 3
        before = np.eye(3)
        for i in range(3):
            # Each joint turns its bone as little as it can, then rolls it.
            world = between(parent @ bones[i], targets[i]) @ parent
            world = rotation(targets[i], np.deg2rad(roll[i])) @ world
            local[first + i] = before.T @ world
            parent = before = world
    rotations, posed = chain(joints, PARENTS, local)
    offsets = posed - np.einsum("jab,jb->ja", rotations, joints)
    return blend_dual_quaternion(vertices, weights, rotations, offsets), posed


def _edges(faces: np.ndarray) -> np.ndarray:
    """Each face's edges (3F, 2), the smaller vertex first."""
    return np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)


def _smooth(vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Iron out the skin that palm and fingers share, which their turning folded (Taubin, 1995)."""
    edges = np.unique(_edges(faces), axis=0)
    mean = np.zeros((len(vertices), len(vertices)))
    mean[edges[:, 0], edges[:, 1]] = mean[edges[:, 1], edges[:, 0]] = 1.0
    mean /= mean.sum(1, keepdims=True)
    palm = weights[:, :1]
    shared = mean @ (4.0 * palm * (1.0 - palm))
    for step in (0.5, -0.52) * _SMOOTHINGS:
        vertices = vertices + step * shared * (mean @ vertices - vertices)
    return vertices


def _apexes(vertices: np.ndarray, joints: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Where the axis of each finger's last bone leaves the finger: thumb to pinky, (5, 3)."""
    tips = []
    for finger in FINGERS:
        last = _FIRST[finger] + 2
        along = joints[last] - joints[last - 1]
        along /= np.linalg.norm(along)
        reach = (vertices[weights[:, last] > 0.5] - joints[last]) @ along
        tips.append(joints[last] + reach.max() * along)
    return np.stack(tips)


def _boundary(faces: np.ndarray) -> np.ndarray:
    """The vertices of edges that one face only uses."""
    unique, count = np.unique(_edges(faces), axis=0, return_counts=True)
    return np.unique(unique[count == 1])


def _trim_cuff(vertices: np.ndarray, faces: np.ndarray, joints: np.ndarray) -> np.ndarray:
    vertices = vertices.copy()
    vertices[_boundary(faces), 0] = joints[0, 0] + _CUFF
    return vertices


def _vertex_order(vertices: np.ndarray, tips: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """A permutation that puts the vertices nearest to each tip at the ids of every preset."""
    order = np.full(len(vertices), -1)
    free = np.ones(len(vertices), bool)
    for finger in range(5):
        # The id that most presets name gets the vertex at the very tip.
        ids = [preset[finger] for preset in FINGERTIPS.values()]
        ids = sorted(set(ids), key=lambda i: (-ids.count(i), i))
        nearest = np.argsort(np.linalg.norm(vertices - tips[finger], axis=1), kind="stable")
        order[ids] = nearest[: len(ids)]
        free[nearest[: len(ids)]] = False
    order[order < 0] = np.flatnonzero(free)
    return order


def _joint_regressor(vertices: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Local positive weights that sum to 1 and give each joint exactly.

    The weights nearest to a Gaussian about the joint in relative entropy are that Gaussian
    times exp(a . v): Newton's method finds a.
    """
    vertices = vertices.astype(np.float64)
    rows = []
    for j, joint in enumerate(joints):
        away = vertices - joint
        distance = np.linalg.norm(away, axis=1)
        near = distance < max(2.2 * np.sort(distance)[12], 0.03 if j == 0 else 0.0)
        scale = 0.6 * distance[near].max()
        x = away[near] / scale
        prior = -0.5 * (distance[near] / scale) ** 2
        slope = np.zeros(3)
        for _ in range(50):
            row = np.exp(prior + x @ slope)
            row /= row.sum()
            mean = row @ x
            slope -= np.linalg.solve((x * row[:, None]).T @ x - np.outer(mean, mean), mean)
        full = np.zeros(len(vertices))
        full[near] = row
        rows.append(full)
    return np.stack(rows)
