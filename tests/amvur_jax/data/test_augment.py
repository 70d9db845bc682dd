"""The law of augmentation: the changed labels are where the changed pixels are."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from trees import CAMERA

from amvur_jax.data.augment import Augmentation, degrade, occlude, recolor
from amvur_jax.data.frame import Frame, project
from amvur_jax.data.sample import make_sample
from mano_jax import load_hand

STRONG = Augmentation(jitter_px=8.0, rotation=180.0, scale=0.4, shift=0.2)
SIZE = 224
VERTICES = (745, 317, 638)  # the tips of thumb and index finger, the wrist


@pytest.fixture(scope="module")
def pose_hand():
    """side -> jitted (pose, betas) -> vertices (778,3), joints (21,3)."""

    @jax.jit
    def posed(hand, pose, betas):
        posed = hand.with_shape(betas).with_pose(pose.reshape(16, 3))
        return posed.vertices, posed.joints_21("ho3d")

    return {side: functools.partial(posed, load_hand(side=side)) for side in ("right", "left")}


def make_frame(pose_hand, seed, side):
    """A frame of a hand model whose picture is black, and its mesh."""
    rng = np.random.default_rng(seed)
    pose, betas = rng.normal(0, 0.4, 48), rng.normal(0, 1, 10)
    pose[:3] = rng.uniform(-2, 2, 3)
    trans = np.array([*rng.uniform(-0.08, 0.08, 2), rng.uniform(0.5, 0.8)])
    vertices, joints = (np.asarray(a) for a in pose_hand[side](jnp.array(pose), jnp.array(betas)))
    vertices, joints = vertices + trans, joints + trans
    joints_px = project(joints, CAMERA)
    frame = Frame(
        name="x",
        index=0,
        image=np.zeros((480, 640, 3), np.uint8),
        K=CAMERA,
        box=np.concatenate([joints_px.min(axis=0), joints_px.max(axis=0)]),
        wrist_cam=joints[0],
        joints_cam=joints,
        pose=pose,
        betas=betas,
        trans=trans,
        root_cam=joints[0],
        side=side,
    )
    return frame, vertices


def painted(frame, point_cam):
    """The frame with a dot where the camera sees a point, and how far the point is off its middle.

    Where the dot would not be whole in the picture there is none: its rest has another middle.
    """
    x, y = np.round(project(point_cam, frame.K)).astype(int)
    image = np.zeros((480, 640, 3), np.uint8)
    if 3 <= x <= 640 - 3 and 3 <= y <= 480 - 3:
        image[y - 3 : y + 3, x - 3 : x + 3] = 255
    return dataclasses.replace(frame, image=image), project(point_cam, frame.K) - [x, y]


def is_usable(frame):
    """Whether the hand's middle is in the picture: else it has no 2D labels, and no crop about it."""
    middle = (frame.box[:2] + frame.box[2:]) / 2
    return bool(((middle >= 0) & (middle <= [640, 480])).all())


def inmost(points_cam, frame):
    """Which point is nearest to the middle of the hand's box in the picture: no crop loses that one."""
    box = np.clip(frame.box, 0, [640, 480, 640, 480])
    middle = (box[:2] + box[2:]) / 2
    return np.linalg.norm(project(points_cam, frame.K) - middle, axis=1).argmin()


def seen(sample):
    """The dot's middle in the crop, or None where it is not whole."""
    weight = sample["image"][..., 0].astype(float)
    border = np.concatenate([weight[[0, 1, -1, -2]].ravel(), weight[:, [0, 1, -1, -2]].ravel()])
    if weight.sum() < 255 * 2 or border.any():  # in the widest crop a dot of 6 x 6 pixels has 2.8
        return None
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@given(seed=st.integers(0, 10_000), side=st.sampled_from(["right", "left"]))
@example(seed=314, side="left")  # the fingers are left of the picture
def test_the_augmented_mesh_projects_onto_the_augmented_pixels(pose_hand, seed, side):
    frame, vertices = make_frame(pose_hand, seed, side)
    dots = 0
    for vertex in (*VERTICES, inmost(vertices, frame)):
        shown, rest = painted(frame, vertices[vertex])
        sample = make_sample(shown, SIZE, np.random.default_rng(seed), STRONG)
        # Mesh and camera are the sample's own, the hand always the right one.
        mesh, joints = pose_hand["right"](sample["pose"], sample["betas"])
        np.testing.assert_allclose(joints + sample["trans"], sample["joints_cam"], atol=1e-4)
        np.testing.assert_allclose(sample["wrist_cam"], sample["joints_cam"][0], atol=1e-6)
        dot = seen(sample)
        if dot is not None:
            dots += 1
            points = project(np.asarray(mesh[vertex] + sample["trans"]), sample["K"])
            # The dot lies on whole pixels, the vertex within half a one of its middle.
            step = sample["crop"][:2, :2] @ rest
            np.testing.assert_allclose(points - step, dot, atol=0.5)
    assert dots >= is_usable(frame)


@given(seed=st.integers(0, 10_000), side=st.sampled_from(["right", "left"]))
@example(seed=314, side="left")  # and so is the middle of the hand
def test_dots_at_the_joints_are_found_at_the_augmented_2d_labels(pose_hand, seed, side):
    frame, _ = make_frame(pose_hand, seed, side)
    usable, dots = is_usable(frame), 0
    for joint in (0, 4, 12, inmost(frame.joints_cam, frame)):
        shown, rest = painted(frame, frame.joints_cam[joint])
        only_2d = dataclasses.replace(
            shown, joints_cam=None, pose=None, joints_px=project(frame.joints_cam, CAMERA)
        )
        for labelled, has_3d in ((shown, 1), (only_2d, 0)):
            sample = make_sample(labelled, SIZE, np.random.default_rng(seed), STRONG)
            assert sample["has_3d"] == sample["has_mesh"] == has_3d * usable
            assert (sample["joints_valid"] == usable).all()
            dot = seen(sample)
            if usable and dot is not None:
                dots += 1
                step = sample["crop"][:2, :2] @ rest
                np.testing.assert_allclose(SIZE * sample["joints_2d"][joint] - step, dot, atol=0.5)
    assert dots >= 2 * usable


def test_augmentation_reaches_what_it_is_asked_for(pose_hand):
    frame, _ = make_frame(pose_hand, 1, "right")
    plain = make_sample(frame, SIZE)["crop"]
    still = Augmentation(jitter_px=0.0, rotation=30.0, scale=0.25)
    maps = [make_sample(frame, SIZE, np.random.default_rng(i), still)["crop"] for i in range(300)]
    scales = [np.sqrt(np.linalg.det(m[:2, :2]) / np.linalg.det(plain[:2, :2])) for m in maps]
    turns = [np.degrees(np.arctan2(m[1, 0], m[0, 0])) for m in maps]
    assert 0.8 <= min(scales) < 0.82 and 1.22 < max(scales) <= 1.25
    assert -30 <= min(turns) < -28 and 28 < max(turns) <= 30
    middle = np.linalg.solve(plain, [SIZE / 2, SIZE / 2, 1])
    np.testing.assert_allclose([m @ middle for m in maps], [[112, 112, 1]] * 300, atol=1e-3)


def test_a_left_hand_that_is_not_mirrored_is_left_out(pose_hand):
    frame, _ = make_frame(pose_hand, 2, "left")
    sample = make_sample(frame, SIZE, augmentation=Augmentation(mirror_left=False))
    assert not sample["joints_valid"].any() and sample["has_3d"] == sample["has_mesh"] == 0


def test_colours_change_by_what_they_are_asked_to_and_grey_stays_near_grey():
    image = np.full((8, 8, 3), 128, np.uint8)
    rng = np.random.default_rng(0)
    drawn = np.array([recolor(image, rng, 0.2)[0, 0].astype(float) for _ in range(200)])
    assert (recolor(image, rng, 0.0) == image).all()
    assert drawn.std(axis=0).min() > 5 and np.abs(drawn - 128).max() <= 128 * (0.2 + 0.07)
    assert np.ptp(drawn, axis=1).max() <= 128 * 0.13


def test_a_patch_covers_a_part_about_a_joint_and_nothing_else():
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(50):
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        patch = occlude(image, rng, np.array([[100.0, 60.0]]))
        assert not image[~patch].any() and image[patch].any(-1).mean() > 0.9
        rows, columns = np.nonzero(image.any(axis=-1))
        shares.append(len(rows) / SIZE**2)
        assert np.hypot(columns.mean() - 100, rows.mean() - 60) < 0.25 * SIZE
    assert 0.01 < np.mean(shares) < 0.1


def test_degrading_takes_detail_and_keeps_the_picture():
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    image = np.stack([128 + 60 * np.sin(x / 3), 128 + 60 * np.cos(y / 4), 0 * x + 90], -1)
    image = image.astype(np.uint8)
    np.testing.assert_array_equal(degrade(image, rng, 0.0), image)
    for seed in range(20):
        worse = degrade(image, np.random.default_rng(seed), 1.0)
        assert worse.shape == image.shape and worse.dtype == np.uint8
        np.testing.assert_allclose(worse.mean((0, 1)), image.mean((0, 1)), atol=8)
        again = degrade(image, np.random.default_rng(seed), 1.0)
        np.testing.assert_array_equal(worse, again)
        assert np.abs(worse.astype(int) - image).mean() > 1
