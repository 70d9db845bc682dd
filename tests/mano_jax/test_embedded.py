"""The embedded hand: MANO's layout, a sound surface, fingers that bend as fingers do."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mano_jax
from mano_jax.coarse import coarse_matrix
from mano_jax.embedded import build_hand
from mano_jax.limits import POSE_HIGH, POSE_LOW, sample_pose
from mano_jax.topology import FINGERS, FINGERTIPS, MANO_JOINT_NAMES

ASSETS = Path(mano_jax.__file__).parent / "assets"
FIRST = {name[:-1]: j for j, name in enumerate(MANO_JOINT_NAMES) if name.endswith("1")}


@pytest.fixture(scope="module")
def hand():
    return mano_jax.load_hand()


@jax.jit
def _posed(hand, betas, pose):
    return hand.with_shape(betas).with_pose(pose)


def _bend(hand, joint, component, degrees):
    pose = np.zeros((16, 3), np.float32)
    pose[joint, component] = np.deg2rad(degrees)
    return _posed(hand, None, jnp.asarray(pose))


def test_recipe_gives_the_shipped_file(hand):
    with np.load(ASSETS / "hand_cc0.npz") as source:
        rebuilt = build_hand(source)
    for name, array in rebuilt.items():
        np.testing.assert_allclose(getattr(hand, name), array, atol=2e-5, err_msg=name)
    assert (ASSETS / "hand.npz").stat().st_size < 1_000_000


def test_shapes_are_manos(hand):
    assert hand.v_template.shape == (778, 3) and hand.shapedirs.shape == (778, 3, 10)
    assert hand.posedirs.shape == (778, 3, 135) and hand.components.shape == (45, 45)
    assert hand.mean_pose.shape == (45,) and hand.coarse.shape == (195, 778)
    assert hand.joint_regressor.shape == hand.weights.T.shape == (16, 778)


def test_surface_is_a_manifold_open_at_the_wrist(hand):
    faces = np.asarray(hand.faces)
    assert np.unique(faces).tolist() == list(range(778))
    directed = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    # Each directed edge once: two faces share an edge and run along it in opposite directions.
    assert len(np.unique(directed, axis=0)) == len(directed)
    pairs = {tuple(edge) for edge in directed.tolist()}
    border = np.array([edge for edge in pairs if edge[::-1] not in pairs])
    assert len(border) == 17 and len(np.unique(border)) == 17
    behind = np.asarray(hand.v_template)[border[:, 0], 0]
    np.testing.assert_allclose(behind, behind[0], atol=1e-6)
    assert behind[0] > np.asarray(hand.joint_regressor @ hand.v_template)[0, 0]


def test_weights_and_regressor_are_local_averages(hand):
    weights, regressor = np.asarray(hand.weights), np.asarray(hand.joint_regressor)
    np.testing.assert_allclose(weights.sum(1), 1.0, atol=1e-6)
    np.testing.assert_allclose(regressor.sum(1), 1.0, atol=1e-6)
    assert weights.min() >= 0 and regressor.min() >= 0
    joints = regressor @ np.asarray(hand.v_template)
    distance = np.linalg.norm(np.asarray(hand.v_template)[None] - joints[:, None], axis=-1)
    assert (distance * (regressor > 1e-4)).max() < 0.05


def test_rest_pose_has_manos_axes_and_a_real_size(hand):
    rest = _posed(hand, None, jnp.zeros((16, 3)))
    joints = np.asarray(rest.joints)
    tips = np.asarray(rest.joints_21()[4::4])
    np.testing.assert_allclose(joints[0], [0.0964, 0.0, 0.0], atol=2e-3)
    np.testing.assert_allclose(joints[FIRST["middle"]], 0.0, atol=1e-4)
    for finger, tip in zip(FINGERS[1:], tips[1:]):
        chain = np.stack([*joints[FIRST[finger] : FIRST[finger] + 3], tip])
        bones = np.diff(chain, axis=0)
        bones /= np.linalg.norm(bones, axis=1, keepdims=True)
        # Straight, along -x but for a natural spread.
        assert (bones[:, 0] < -0.95).all(), finger
        assert (bones[0] @ bones[1], bones[1] @ bones[2]) > (0.98, 0.98), finger
    # Thumb side towards +z.
    order = [joints[FIRST[f], 2] for f in ("pinky", "ring", "middle", "index")]
    assert order == sorted(order) and tips[0, 2] > tips[1, 2]
    assert 0.17 < np.linalg.norm(tips[2] - joints[0]) < 0.19


@pytest.mark.parametrize("preset", FINGERTIPS)
def test_fingertip_vertices_of_every_preset_lie_at_the_tips(hand, preset):
    vertices, weights = np.asarray(hand.v_template), np.asarray(hand.weights)
    joints = np.asarray(hand.joint_regressor) @ vertices
    for finger, vertex in zip(FINGERS, FINGERTIPS[preset]):
        last = FIRST[finger] + 2
        along = joints[last] - joints[last - 1]
        along /= np.linalg.norm(along)
        own = weights[:, last] > 0.5
        assert own[vertex]
        reach = (vertices - joints[last]) @ along
        assert reach[own].max() - reach[vertex] < 0.006, (finger, vertex)


@pytest.mark.parametrize("finger", FINGERS)
def test_positive_z_bends_towards_the_palm(hand, finger):
    tip = FINGERS.index(finger)
    for joint in range(FIRST[finger] + (2 if finger == "thumb" else 0), FIRST[finger] + 3):
        heights = [
            float(_bend(hand, joint, 2, angle).joints_21()[4 * tip + 4, 1]) for angle in (0, 25, 50)
        ]
        # The palm faces -y.
        assert heights[0] - 0.005 > heights[1] > heights[2] + 0.003


def test_positive_x_brings_the_thumb_before_the_palm(hand):
    tips = [np.asarray(_bend(hand, FIRST["thumb"], 0, a).joints_21()[4]) for a in (0, 35, 70)]
    assert tips[0][1] > tips[1][1] + 0.02 and tips[1][1] > tips[2][1]
    assert tips[0][2] > tips[1][2] > tips[2][2]


def test_correctives_keep_the_volume_of_bent_fingers(hand):
    """With correctives a bent finger loses less of its volume than by linear blending alone."""
    plain = mano_jax.HandModel(
        **{f: getattr(hand, f) for f in hand.__dataclass_fields__ if f != "posedirs"},
        posedirs=jnp.zeros_like(hand.posedirs),
    )
    pose = np.zeros((16, 3), np.float32)
    pose[1:13, 2] = np.deg2rad(80)
    rest = _volume(hand.v_template, hand.faces)
    with_correctives = _volume(_posed(hand, None, jnp.asarray(pose)).vertices, hand.faces)
    without = _volume(_posed(plain, None, jnp.asarray(pose)).vertices, hand.faces)
    assert abs(with_correctives - rest) < 0.5 * abs(without - rest)


def _volume(vertices, faces):
    """Enclosed volume, the wrist closed by a fan about its middle."""
    vertices, faces = np.asarray(vertices, np.float64), np.asarray(faces)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).tolist()
    pairs = {tuple(e) for e in edges}
    border = np.array([e for e in pairs if e[::-1] not in pairs])
    middle = vertices[border[:, 0]].mean(0)
    lid = np.stack([vertices[border[:, 1]], vertices[border[:, 0]]], 1)
    triangles = np.concatenate([vertices[faces], np.insert(lid, 2, middle, axis=1)])
    a, b, c = np.moveaxis(triangles, 1, 0)
    return np.sum(a * np.cross(b, c)) / 6


def test_shape_directions_are_smooth_and_of_human_size(hand):
    directions = np.asarray(hand.shapedirs)
    size = np.linalg.norm(directions, axis=1)
    assert (size.max(0) > 5e-4).all() and size.max() < 0.012
    assert np.linalg.matrix_rank(directions.reshape(-1, 10), tol=1e-4) == 10
    # Neighbours move alike at two betas: nearly every edge changes by less than a fifth of its
    # length, and the shortest ones, where thumb and palm meet, by little.
    faces, template = np.asarray(hand.faces), np.asarray(hand.v_template)
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    change = np.linalg.norm(directions[a] - directions[b], axis=1)
    length = np.linalg.norm(template[a] - template[b], axis=1, keepdims=True)
    assert np.quantile(2 * change / length, 0.995) < 0.2
    assert 2 * change.max() < 0.004


def test_joints_stay_inside_their_finger_for_extreme_shapes(hand):
    for sign in (-2.0, 2.0):
        shaped = hand.with_shape(sign * jnp.eye(10))
        for joint in range(1, 16):
            ring = np.asarray(hand.joint_regressor[joint] > 1e-3)
            points = np.asarray(shaped.vertices)[:, ring]
            middle = np.asarray(shaped.joints)[:, joint]
            assert ((points.min(1) < middle) & (middle < points.max(1))).all()


def test_components_are_orthonormal_and_few_explain_most(hand):
    components = np.asarray(hand.components)
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-5)
    pose = sample_pose(np.random.default_rng(7), 500)[:, 1:].reshape(500, 45)
    centred = pose - np.asarray(hand.mean_pose)
    kept = centred @ components[:15].T
    assert np.sum(kept**2) > 0.9 * np.sum(centred**2)
    # The mean pose is a relaxed, slightly curled hand.
    flexion = np.rad2deg(np.asarray(hand.mean_pose).reshape(15, 3)[:12, 2])
    assert (flexion > 10).all() and (flexion < 45).all()


def test_sampled_poses_are_within_the_limits_and_differ():
    pose = sample_pose(np.random.default_rng(0), 300)
    assert pose.shape == (300, 16, 3) and pose.dtype == np.float32
    assert (pose[:, 0] == 0).all()
    assert (pose[:, 1:] >= POSE_LOW[1:]).all() and (pose[:, 1:] <= POSE_HIGH[1:]).all()
    flexion = np.rad2deg(pose[:, 1:13, 2])
    assert flexion.min() < 0 and flexion.max() > 75 and flexion.std(0).min() > 8
    again = sample_pose(np.random.default_rng(0), 300)
    np.testing.assert_array_equal(pose, again)


def test_limits_are_the_published_ones():
    def row(joint):
        return np.rad2deg(np.stack([POSE_LOW[joint], POSE_HIGH[joint]], -1)).round(3).tolist()

    assert POSE_LOW[0].tolist() == pytest.approx([3.13, -0.01, -0.01])
    assert POSE_HIGH[0].tolist() == pytest.approx([3.15, 0.01, 0.01])
    assert row(1) == row(4) == row(10) == [[-5, 5], [-10, 10], [-10, 100]]
    assert row(7) == [[-20, 5], [-10, 20], [-10, 100]]
    for joint in (2, 3, 5, 6, 8, 9, 11, 12):
        assert row(joint) == [[-5, 5], [-5, 5], [-10, 100]]
    assert row(13) == [[0, 90], [-22.5, 33.75], [-22.5, 22.5]]
    assert row(14) == [[-5, 5], [-5, 5], [-22.5, 22.5]]
    assert row(15) == [[-5, 5], [-5, 5], [-20, 100]]


def test_coarse_mesh_covers_the_hand(hand):
    matrix = np.asarray(hand.coarse)
    assert ((matrix == 0) | (matrix == 1)).all() and (matrix.sum(1) == 1).all()
    assert matrix.sum(0).max() == 1
    template = np.asarray(hand.v_template)
    coarse = matrix @ template
    distance = np.linalg.norm(template[:, None] - coarse[None], axis=-1)
    # Farthest-point sampling: no vertex is farther than the two closest picks are apart.
    apart = np.linalg.norm(coarse[:, None] - coarse[None], axis=-1) + np.eye(195)
    assert distance.min(1).max() <= apart.min() + 1e-6
    np.testing.assert_array_equal(matrix, coarse_matrix(template))


def test_random_poses_have_no_spikes(hand):
    """Posed edges stay near their rest length: nothing is torn or collapsed."""
    pose = jnp.asarray(sample_pose(np.random.default_rng(3), 64))
    vertices = np.asarray(_posed(hand, None, pose).vertices)
    faces, template = np.asarray(hand.faces), np.asarray(hand.v_template)
    a, b = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).T
    posed = np.linalg.norm(vertices[:, a] - vertices[:, b], axis=-1)
    rest = np.linalg.norm(template[a] - template[b], axis=-1)
    assert (posed - rest).max() < 0.012
    assert np.isfinite(vertices).all()
