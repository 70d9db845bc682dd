"""The hand model: recorded numbers of the published code, laws, batches, gradients."""

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from fake_mano import make_fake_mano

import mano_jax
from mano_jax import HandModel, load_hand
from mano_jax.model import _chain
from mano_jax.rotations import rotation_matrix
from mano_jax.topology import MODEL_TO_MANO21, PARENTS

RECORDED = Path(__file__).parents[1] / "recorded" / "mano.npz"


@pytest.fixture(autouse=True)
def _precision():
    with jax.default_matmul_precision("highest"):
        yield


@pytest.fixture(scope="module")
def recorded():
    return np.load(RECORDED)


@pytest.fixture(scope="module")
def fake():
    fields = make_fake_mano()
    coarse = np.zeros((195, 778))
    coarse[np.arange(195), fields["D_idx"]] = 1.0
    arrays = {
        "v_template": fields["v_template"],
        "shapedirs": fields["shapedirs"],
        "posedirs": fields["posedirs"],
        "joint_regressor": fields["J_regressor"],
        "weights": fields["weights"],
        "components": fields["hands_components"],
        "mean_pose": fields["hands_mean"],
        "coarse": coarse,
    }
    arrays = {k: jnp.asarray(v, jnp.float32) for k, v in arrays.items()}
    faces = jnp.asarray(fields["f"], jnp.int32)
    return HandModel(**arrays, faces=faces, parents=PARENTS, side="right", name="fake")


@pytest.fixture(scope="module")
def hand():
    return load_hand()


@jax.jit
def _posed(hand, betas, pose):
    return hand.with_shape(betas).with_pose(pose)


def _prior_pass(hand, rots, coefficients, betas):
    """AMVUR's use of MANO: the root fixed at (pi, 0, 0), then all turned about the origin."""
    fingers = hand.finger_pose(coefficients)
    root = jnp.broadcast_to(jnp.array([jnp.pi, 0.0, 0.0]), (*fingers.shape[:-2], 1, 3))
    pose = jnp.concatenate([root, fingers], axis=-2)
    posed = hand.with_shape(betas).with_pose(pose).moved(rotation_matrix(rots))
    joints = posed.joints_21("freihand")[..., MODEL_TO_MANO21, :]
    return jnp.concatenate([joints, posed.vertices], axis=-2), pose


def test_prior_pass_gives_the_recorded_numbers(fake, recorded):
    r = recorded
    jv, pose = jax.jit(_prior_pass)(fake, r["rots"], r["poses"], r["betas"])
    np.testing.assert_allclose(jv, r["jv"], atol=1e-6)
    np.testing.assert_allclose(pose, r["tsa_poses"], atol=1e-6)


def test_prior_pass_gives_the_recorded_gradients(fake, recorded):
    r = recorded

    def loss(rots, poses, betas):
        jv, _ = _prior_pass(fake, rots, poses, betas)
        return jnp.sum(jv[1:] * r["loss_w"][1:])

    grads = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(r["rots"], r["poses"], r["betas"])
    for ours, name in zip(grads, ("rots", "poses", "betas")):
        theirs = r[f"grad_{name}"].copy()
        # Sample 0 is not in the sum; the published formula is NaN at its zero rotation.
        theirs[0] = np.nan_to_num(theirs[0])
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * scale)


def test_hand_layer_gives_the_recorded_numbers(fake, recorded):
    r = recorded

    @jax.jit
    def layer(pose48, betas):
        pose = pose48 + jnp.concatenate([jnp.zeros(3), fake.mean_pose])
        posed = fake.with_shape(betas).with_pose(pose.reshape(-1, 16, 3))
        return posed.vertices * 1000, posed.joints_21("manopth") * 1000

    def loss(pose48, betas):
        vertices, joints = layer(pose48, betas)
        return jnp.sum(vertices * r["layer_loss_wv"]) + jnp.sum(joints * r["layer_loss_wj"])

    vertices, joints = layer(r["layer_pose48"], r["layer_betas"])
    np.testing.assert_allclose(vertices, r["layer_verts_mm"], atol=1e-3)
    np.testing.assert_allclose(joints, r["layer_joints_mm"], atol=1e-3)
    grads = jax.jit(jax.grad(loss, argnums=(0, 1)))(r["layer_pose48"], r["layer_betas"])
    for ours, name in zip(grads, ("pose48", "betas")):
        theirs = r[f"layer_grad_{name}"]
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_regressor_and_coarse_mesh_give_the_recorded_numbers(fake, recorded):
    r = recorded
    regressor = fake.joint_regressor_21("amvur")
    np.testing.assert_allclose(regressor, r["joint_regressor_21"], atol=1e-7)
    vertices = r["layer_verts_mm"] / 1000
    np.testing.assert_allclose(regressor @ vertices, r["joints_from_verts_m"], atol=1e-6)
    np.testing.assert_allclose(fake.coarse @ vertices, r["downsampled_m"], atol=1e-6)


def test_zero_pose_is_the_template(hand):
    posed = _posed(hand, jnp.zeros(10), jnp.zeros((16, 3)))
    np.testing.assert_allclose(posed.vertices, hand.v_template, atol=1e-7)
    np.testing.assert_allclose(posed.joints, hand.joint_regressor @ hand.v_template, atol=1e-7)


def test_root_rotation_turns_everything_about_the_wrist(fake):
    key = jax.random.key(0)
    pose = 0.4 * jax.random.normal(key, (16, 3))
    shaped = fake.with_shape(jnp.arange(10.0) / 5)
    still = _posed(fake, jnp.arange(10.0) / 5, pose.at[0].set(0.0))
    turned = _posed(fake, jnp.arange(10.0) / 5, pose)
    wrist = shaped.joints[0]
    rotation = rotation_matrix(pose[0])
    expected = (still.vertices - wrist) @ rotation.T + wrist
    np.testing.assert_allclose(turned.vertices, expected, atol=1e-6)
    expected = (still.joints - wrist) @ rotation.T + wrist
    np.testing.assert_allclose(turned.joints, expected, atol=1e-6)


def test_bones_keep_their_length_and_rotations_compose(hand):
    pose = 0.5 * jax.random.normal(jax.random.key(1), (16, 3))
    shaped = hand.with_shape(jnp.full(10, 0.7))
    posed = _posed(hand, jnp.full(10, 0.7), pose)
    parents = np.array(PARENTS[1:])

    def lengths(joints):
        return np.linalg.norm(np.asarray(joints[1:]) - np.asarray(joints)[parents], axis=-1)

    np.testing.assert_allclose(lengths(posed.joints), lengths(shaped.joints), atol=1e-6)
    expected = rotation_matrix(pose[0]) @ rotation_matrix(pose[4]) @ rotation_matrix(pose[5])
    np.testing.assert_allclose(posed.rotations[5], expected, atol=1e-6)


@pytest.mark.parametrize("parents", [PARENTS, (-1, 0, 0, 1, 1, 2, 3, 6, 2, 0, 9, 10, 4, 4, 4, 5)])
def test_each_joint_is_carried_by_its_parent(parents):
    rng = np.random.default_rng(3)
    local, rest = rotation_matrix(rng.normal(size=(2, 16, 3))), rng.normal(size=(16, 3))
    rotations, joints = [np.asarray(local[:, 0])], [np.broadcast_to(rest[0], (2, 3))]
    for i, parent in list(enumerate(parents))[1:]:
        joints.append(joints[parent] + rotations[parent] @ (rest[i] - rest[parent]))
        rotations.append(rotations[parent] @ np.asarray(local[:, i]))
    found = jax.jit(_chain, static_argnums=0)(parents, local, jnp.asarray(rest, jnp.float32))
    np.testing.assert_allclose(found[0], np.stack(rotations, 1), atol=1e-5)
    np.testing.assert_allclose(found[1], np.stack(joints, 1), atol=1e-5)
    assert "scatter" not in str(jax.make_jaxpr(_chain, static_argnums=0)(parents, local, rest))


def test_moved_is_a_rigid_motion(hand):
    posed = _posed(hand, None, 0.3 * jnp.ones((16, 3)))
    rotation = rotation_matrix(jnp.array([0.3, -1.0, 2.0]))
    shift = jnp.array([0.1, 0.2, 0.7])
    moved = posed.moved(rotation, shift)
    np.testing.assert_allclose(moved.vertices, posed.vertices @ rotation.T + shift, atol=1e-6)
    np.testing.assert_allclose(moved.joints, posed.joints @ rotation.T + shift, atol=1e-6)
    np.testing.assert_allclose(moved.rotations[3], rotation @ posed.rotations[3], atol=1e-6)


def test_batch_axes_broadcast_and_agree_with_vmap(hand):
    betas = jax.random.normal(jax.random.key(0), (2, 1, 4))
    pose = 0.3 * jax.random.normal(jax.random.key(1), (3, 16, 3))
    posed = _posed(hand, betas, pose)
    assert posed.vertices.shape == (2, 3, 778, 3)
    assert posed.joints_21().shape == (2, 3, 21, 3)
    one = _posed(hand, betas[1, 0], pose[2])
    np.testing.assert_allclose(posed.vertices[1, 2], one.vertices, atol=1e-6)
    mapped = jax.vmap(lambda h, p: h.with_shape(betas[0, 0]).with_pose(p).joints, (None, 0))
    np.testing.assert_allclose(jax.jit(mapped)(hand, pose), posed.joints[0], atol=1e-6)


@pytest.mark.parametrize("transform", [lambda f: f, jax.jit], ids=["as it is", "jit"])
@pytest.mark.parametrize(
    ("betas", "pose", "batch"),
    [
        (None, (0, 16, 3), (0,)),
        ((10,), (0, 16, 3), (0,)),
        ((0, 10), (0, 16, 3), (0,)),
        ((0, 10), (16, 3), (0,)),
        ((0, 1, 4), (3, 16, 3), (0, 3)),
        ((2, 1, 10), (0, 16, 3), (2, 0)),
    ],
)
def test_a_batch_of_no_hands_gives_no_hands(hand, transform, betas, pose, batch):
    """As numpy broadcasts: a batch axis of 0 stays one of 0."""

    @transform
    def pass_(hand, betas, pose):
        posed = hand.with_shape(betas).with_pose(pose).moved(jnp.eye(3), jnp.ones(3))
        return posed, posed.joints_21()

    posed, joints_21 = pass_(hand, None if betas is None else jnp.zeros(betas), jnp.zeros(pose))
    assert posed.vertices.shape == (*batch, 778, 3)
    assert posed.joints.shape == (*batch, 16, 3)
    assert posed.rotations.shape == (*batch, 16, 3, 3)
    assert joints_21.shape == (*batch, 21, 3)


def test_hand_is_a_pytree_and_immutable(hand):
    leaves = jax.tree.leaves(hand)
    assert len(leaves) == 9
    doubled = jax.jit(lambda h: jax.tree.map(lambda x: x * 2, h))(hand)
    assert isinstance(doubled, HandModel) and doubled.parents == hand.parents
    with pytest.raises(dataclasses.FrozenInstanceError):
        hand.side = "left"


def test_gradients_are_finite_at_zero_pose(hand):
    def loss(betas, pose, coefficients):
        pose = pose.at[1:].add(hand.finger_pose(coefficients))
        posed = hand.with_shape(betas).with_pose(pose)
        return jnp.sum(posed.vertices**2) + jnp.sum(posed.joints_21() ** 2)

    values = (jnp.zeros(10), jnp.zeros((16, 3)), jnp.zeros(6))
    for grad in jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*values):
        assert np.isfinite(grad).all() and np.abs(grad).max() > 0


def test_wrong_arguments_are_named(hand):
    with pytest.raises(ValueError, match=r"\(48,\)"):
        hand.with_shape().with_pose(jnp.zeros(48))
    with pytest.raises(ValueError, match=r"fingertips='nails'.*ho3d"):
        hand.joint_regressor_21("nails")


def test_left_hand_is_the_mirror_image(hand):
    left = mano_jax.load_hand(side="left")
    assert left.side == "left"
    betas = jax.random.normal(jax.random.key(0), (10,))
    coefficients = jax.random.normal(jax.random.key(1), (45,))
    root = jnp.array([[0.4, -0.7, 0.2]])
    flip, axial = jnp.array([-1.0, 1.0, 1.0]), jnp.array([1.0, -1.0, -1.0])
    pose = jnp.concatenate([root, hand.finger_pose(coefficients)])
    left_pose = jnp.concatenate([root * axial, left.finger_pose(coefficients)])
    right, mirrored = _posed(hand, betas, pose), _posed(left, betas, left_pose)
    np.testing.assert_allclose(mirrored.vertices, right.vertices * flip, atol=1e-6)
    joints, expected = mirrored.joints_21("ho3d"), right.joints_21("ho3d") * flip
    np.testing.assert_allclose(joints, expected, atol=1e-6)
    # Faces are wound the other way round: the enclosed volume stays positive.
    assert _volume(hand.v_template, hand.faces) > 0
    assert _volume(left.v_template, left.faces) > 0


@pytest.mark.parametrize(
    ("side", "preset", "tip"),
    [
        ("right", "manopth", 444),
        ("left", "manopth", 445),
        ("right", "amvur", 445),
        ("left", "amvur", 445),
        ("left", "ho3d", 444),
    ],
)
def test_middle_tip_is_that_of_the_hands_side(side, preset, tip):
    hand = load_hand(side=side)
    posed = _posed(hand, None, jnp.full((16, 3), 0.2)).moved(translation=jnp.ones(3))
    middle = 12  # of the model's 21
    np.testing.assert_array_equal(posed.joints_21(preset)[middle], posed.vertices[tip])
    np.testing.assert_array_equal(hand.joint_regressor_21(preset)[middle], np.eye(778)[tip])


def _volume(vertices, faces):
    a, b, c = np.moveaxis(np.asarray(vertices, np.float64)[np.asarray(faces)], 1, 0)
    return np.sum(a * np.cross(b, c)) / 6
