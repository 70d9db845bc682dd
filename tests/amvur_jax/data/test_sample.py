"""The sample's contract: keys, shapes, and labels that agree with the pixels."""

import dataclasses

import numpy as np
import pytest
from trees import CAMERA, write_ho3d

from amvur_jax.data import sample as sample_module
from amvur_jax.data.augment import Augmentation
from amvur_jax.data.frame import Frame
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.sample import empty_sample, make_sample

SHAPES = {
    "image": (64, 64, 3),
    "K": (3, 3),
    "crop": (3, 3),
    "joints_2d": (21, 2),
    "joints_valid": (21,),
    "joints_cam": (21, 3),
    "wrist_cam": (3,),
    "pose": (48,),
    "betas": (10,),
    "trans": (3,),
    "has_image": (),
    "has_3d": (),
    "has_mesh": (),
    "index": (),
}


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("HO3D")
    write_ho3d(root)
    return root


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_keys_shapes_and_dtypes(tree, split):
    dataset = HO3D(tree, split)
    for i in range(len(dataset)):
        sample = make_sample(dataset.frame(i), 64)
        assert {name: np.shape(value) for name, value in sample.items()} == SHAPES
        assert sample["image"].dtype == np.uint8
        assert sample["index"] == i and sample["index"].dtype == np.int32
        for name in SHAPES.keys() - {"image", "index"}:
            assert sample[name].dtype == np.float32, name
            assert np.isfinite(sample[name]).all(), name


@pytest.mark.parametrize("size", [64, 224])
def test_crop_intrinsics_project_the_joints_onto_their_2d_labels(tree, size):
    frame = HO3D(tree).frame(0)
    sample = make_sample(frame, size, np.random.default_rng(0))
    points = sample["joints_cam"] @ sample["K"].T
    points = points[:, :2] / points[:, 2:] / size
    np.testing.assert_allclose(points, sample["joints_2d"], atol=1e-5)
    # The same labels through the image: project there, then move by the crop's matrix.
    points = frame.joints_cam @ frame.K.T
    points = points / points[:, 2:] @ sample["crop"].T
    np.testing.assert_allclose(points[:, :2] / size, sample["joints_2d"], atol=1e-5)


def test_a_joint_painted_in_the_image_shows_at_its_2d_label(tree):
    frame = HO3D(tree).frame(1)
    image = np.zeros((480, 640, 3), np.uint8)
    joint = np.array([0.013, 0.021, 0.6])
    x, y = (CAMERA @ joint)[:2] / joint[2]
    image[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4] = 255
    # Move the joint to the middle of the painted square.
    middle = np.linalg.solve(CAMERA, [int(x) + 0.5, int(y) + 0.5, 1]) * 0.6
    joints = np.concatenate([middle[None], frame.joints_cam[1:]])
    frame = dataclasses.replace(frame, image=image, joints_cam=joints)
    sample = make_sample(frame, 224, np.random.default_rng(0))
    weight = sample["image"][..., 0].astype(float)
    rows, columns = np.mgrid[:224, :224] + 0.5
    found = np.array([(columns * weight).sum(), (rows * weight).sum()]) / weight.sum()
    np.testing.assert_allclose(found / 224, sample["joints_2d"][0], atol=1e-3)


def test_only_a_generator_jitters_the_crop(tree):
    frame = HO3D(tree).frame(0)
    still = make_sample(frame, 64)["crop"]
    np.testing.assert_array_equal(still, make_sample(frame, 64)["crop"])
    moved = make_sample(frame, 64, np.random.default_rng(1))["crop"]
    assert np.abs(moved - still).max() > 0.1
    np.testing.assert_array_equal(moved, make_sample(frame, 64, np.random.default_rng(1))["crop"])
    np.testing.assert_allclose(
        make_sample(frame, 64, np.random.default_rng(1), Augmentation(jitter_px=0.0))["crop"], still
    )


def test_joints_outside_the_crop_still_count(tree):
    frame = HO3D(tree).frame(0)
    joints = frame.joints_cam.copy()
    joints[8, 0] += 5.0
    sample = make_sample(dataclasses.replace(frame, joints_cam=joints), 64)
    assert sample["joints_2d"][8, 0] > 1
    assert sample["joints_valid"].all() and sample["has_3d"] == sample["has_mesh"] == 1


def test_a_frame_without_a_usable_hand_has_no_weight(tree):
    frame = HO3D(tree).frame(0)
    behind = frame.joints_cam * [1, 1, -1]
    for change in ({"box": np.array([-200.0, 0, -100, 50])}, {"joints_cam": behind}):
        sample = make_sample(dataclasses.replace(frame, **change), 64)
        assert sample["joints_valid"].max() == sample["has_3d"] == sample["has_mesh"] == 0
        assert all(np.isfinite(value).all() for value in sample.values())


def test_missing_labels_are_zeros_without_weight(tree):
    sample = make_sample(HO3D(tree, "evaluation").frame(0), 64)
    for name in ("joints_2d", "joints_cam", "pose", "betas", "trans"):
        assert not sample[name].any()
    assert sample["joints_valid"].max() == sample["has_3d"] == sample["has_mesh"] == 0
    assert sample["wrist_cam"][2] > 0


def test_joints_without_a_mesh():
    joints = np.random.default_rng(0).normal([0, 0, 0.6], 0.05, (21, 3))
    frame = Frame(
        name="x",
        index=0,
        image=np.zeros((480, 640, 3), np.uint8),
        K=CAMERA,
        box=np.array([250.0, 180, 380, 300]),
        wrist_cam=joints[0],
        joints_cam=joints,
    )
    sample = make_sample(frame, 64)
    assert sample["has_3d"] == 1 and sample["has_mesh"] == 0


@pytest.mark.parametrize("missing", ["pose", "trans", "root_cam"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_mesh_without_its_place_is_none_and_the_joints_stay(tree, missing, side):
    frame = dataclasses.replace(HO3D(tree).frame(0), side=side)
    strong = Augmentation(rotation=90)
    whole = make_sample(frame, 64, np.random.default_rng(1), strong)
    part = dataclasses.replace(frame, **{missing: None})
    sample = make_sample(part, 64, np.random.default_rng(1), strong)
    assert whole["has_mesh"] == 1 and sample["has_mesh"] == 0 and sample["has_3d"] == 1
    assert not sample["pose"].any() and not sample["trans"].any()
    np.testing.assert_array_equal(sample["joints_cam"], whole["joints_cam"])


@pytest.mark.parametrize("side", ["right", "left"])
def test_the_mask_lies_in_the_crop_where_its_pixels_lie(tree, side):
    """Each pixel's own way back through the crop's matrix, one after the other."""
    rng = np.random.default_rng(0)
    mask = np.repeat(np.repeat(rng.random((24, 32)) < 0.5, 20, 0), 20, 1)
    frame = dataclasses.replace(HO3D(tree).frame(0), side=side, visible=mask)
    strong = Augmentation(rotation=90, scale=1.0)
    sample = make_sample(frame, 64, np.random.default_rng(1), strong, masks=True)
    assert sample["visible"].shape == (64, 64) and sample["visible"].dtype == bool
    assert sample["has_visible"] == 1 and sample["has_visible"].dtype == np.float32
    back = np.linalg.inv(sample["crop"].astype(np.float64))
    wrong = 0
    for v in range(64):
        for u in range(64):
            x, y = (back @ [u + 0.5, v + 0.5, 1])[:2]
            inside = 0 <= x < 640 and 0 <= y < 480
            wrong += sample["visible"][v, u] != (inside and mask[int(y), int(x)])
    assert wrong < 0.01 * 64**2  # OpenCV rounds to a 32nd of a pixel


def test_a_region_of_the_picture_has_the_mask_of_the_region(tree):
    mask = np.random.default_rng(0).random((480, 640)) < 0.5
    frame = dataclasses.replace(HO3D(tree).frame(0), visible=mask)
    part = dataclasses.replace(
        frame,
        image=frame.image[32:, 48:],
        visible=mask[32:, 48:],
        origin=(48, 32),
        full_size=(640, 480),
    )
    whole, region = (make_sample(f, 64, masks=True)["visible"] for f in (frame, part))
    x, y = np.meshgrid(np.arange(64) + 0.5, np.arange(64) + 0.5)
    A = make_sample(frame, 64)["crop"]
    kept = (x >= A[0, 0] * 48 + A[0, 2]) & (y >= A[1, 1] * 32 + A[1, 2])
    assert np.mean(whole[kept] != region[kept]) < 0.01 and kept.mean() > 0.5


def test_samples_say_what_is_visible_where_they_are_asked_alone(tree):
    frame = HO3D(tree).frame(0)
    masked = dataclasses.replace(frame, visible=np.zeros((480, 640), bool))
    plain = make_sample(masked, 64)
    assert plain.keys() == SHAPES.keys() == empty_sample(0, 64).keys()
    unknown = make_sample(frame, 64, masks=True)
    assert unknown["visible"].all() and unknown["has_visible"] == 0
    empty = empty_sample(0, 64, masks=True)
    assert unknown.keys() == empty.keys() == SHAPES.keys() | {"visible", "has_visible"}
    for name, value in unknown.items():
        assert np.shape(value) == np.shape(empty[name]) and value.dtype == empty[name].dtype


def test_a_patch_that_the_augmentation_lays_hides_what_is_under_it(tree, monkeypatch):
    def patch(image, rng, points):
        image[10:20, 30:50] = 0
        patch = np.zeros(image.shape[:2], bool)
        patch[10:20, 30:50] = True
        return patch

    monkeypatch.setattr(sample_module, "occlude", patch)
    frame = dataclasses.replace(HO3D(tree).frame(0), visible=np.ones((480, 640), bool))
    still = Augmentation(jitter_px=0.0, occlusion=1.0)
    with_patch = make_sample(frame, 64, np.random.default_rng(0), still, masks=True)["visible"]
    without = make_sample(frame, 64, masks=True)["visible"]
    assert without[10:20, 30:50].any() and not with_patch[10:20, 30:50].any()
    without[10:20, 30:50] = False
    np.testing.assert_array_equal(with_patch, without)
