"""The FreiHAND reader on a folder that the test writes: values, variants, bad input."""

import json

import cv2
import numpy as np
import pytest
from trees import picture

from amvur_jax.data.open import open_dataset
from amvur_jax.data.readers.freihand import FreiHAND
from amvur_jax.data.sample import make_sample
from amvur_jax.errors import UserError
from mano_jax import load_hand

COUNT = 3
K = np.array([[480.0, 0, 112], [0, 481.0, 113], [0, 0, 1]])


def write(path, values):
    path.write_text(json.dumps(np.asarray(values).tolist()))


@pytest.fixture
def tree(tmp_path):
    """(folder, labels): COUNT training hands in four variants, two evaluation pictures."""
    rng = np.random.default_rng(0)
    labels = {
        "K": np.tile(K, (COUNT, 1, 1)),
        "xyz": rng.normal([0, 0, 0.7], 0.03, (COUNT, 21, 3)),
        "mano": rng.normal(0, 0.3, (COUNT, 1, 61)),
        "scale": rng.uniform(0.02, 0.03, COUNT),
    }
    for kind, values in labels.items():
        write(tmp_path / f"training_{kind}.json", values)
    write(tmp_path / "evaluation_K.json", np.tile(K, (2, 1, 1)))
    write(tmp_path / "evaluation_scale.json", [0.03, 0.03])
    for split, count in (("training", 4 * COUNT), ("evaluation", 2)):
        (tmp_path / split / "rgb").mkdir(parents=True)
        for i in range(count):
            path = tmp_path / split / "rgb" / f"{i:08d}.jpg"
            assert cv2.imwrite(str(path), picture(rng, 224, 224))
    return tmp_path, labels


def test_it_is_recognised_and_each_variant_has_the_labels_of_its_hand(tree):
    root, labels = tree
    dataset = open_dataset(root, "train")
    assert dataset.layout == "freihand" and len(dataset) == 4 * COUNT
    assert dataset.names[COUNT + 1] == "training/00000004"
    first, fourth = dataset.frame(1), dataset.frame(3 * COUNT + 1)
    assert (first.image != fourth.image).any()
    for frame in (first, fourth):
        np.testing.assert_allclose(frame.joints_cam, labels["xyz"][1])
        np.testing.assert_allclose(frame.betas, labels["mano"][1, 0, 48:58])
        # Their finger angles are relative to the mean pose, the wrist's rotation is not.
        mean = np.asarray(load_hand().mean_pose)
        np.testing.assert_allclose(frame.pose[:3], labels["mano"][1, 0, :3])
        np.testing.assert_allclose(frame.pose[3:] - mean, labels["mano"][1, 0, 3:48])
        posed = load_hand().with_shape(frame.betas).with_pose(frame.pose.reshape(16, 3))
        np.testing.assert_allclose(posed.joints[0] + frame.trans, labels["xyz"][1, 0], atol=1e-6)


def test_the_crop_is_the_whole_picture(tree):
    frame = FreiHAND(tree[0]).frame(0)
    sample = make_sample(frame, 224)
    np.testing.assert_allclose(sample["crop"], np.eye(3), atol=1e-4)
    np.testing.assert_array_equal(sample["image"], frame.image)


def test_evaluation_without_its_labels(tree):
    dataset = FreiHAND(tree[0], "evaluation")
    assert len(dataset) == 2 and dataset.ground_truth is None
    frame = dataset.frame(1)
    assert frame.wrist_cam is None and frame.pose is None and frame.name == "evaluation/00000001"
    sample = make_sample(frame, 64)
    assert not sample["has_3d"] and not sample["wrist_cam"].any() and sample["has_image"]


def test_evaluation_with_its_labels(tree):
    root, _ = tree
    rng = np.random.default_rng(1)
    joints, vertices = rng.normal(size=(2, 21, 3)), rng.normal(size=(2, 778, 3))
    write(root / "evaluation_xyz.json", joints)
    write(root / "evaluation_verts.json", vertices)
    dataset = FreiHAND(root, "evaluation")
    np.testing.assert_allclose(dataset.ground_truth[0], joints)
    np.testing.assert_allclose(dataset.ground_truth[1], vertices)
    np.testing.assert_allclose(dataset.frame(1).wrist_cam, joints[1, 0])


def test_a_copy_with_fewer_variants(tree):
    root, _ = tree
    for i in range(2 * COUNT, 4 * COUNT):
        (root / f"training/rgb/{i:08d}.jpg").unlink()
    assert len(FreiHAND(root)) == 2 * COUNT


def test_what_is_wrong_with_one_frame_is_that_frames_fault(tree):
    root, labels = tree
    bad = {kind: values.copy() for kind, values in labels.items()}
    bad["xyz"][0, 3, 1] = np.nan
    bad["K"][1] = 0
    for kind in ("xyz", "K"):
        write(root / f"training_{kind}.json", bad[kind])
    (root / "training/rgb/00000002.jpg").write_bytes(b"\xff\xd8")
    dataset = FreiHAND(root)
    for i, message in ((0, "xyz.json: entry 0 holds NaN"), (1, "K.json: entry 1 is no camera")):
        with pytest.raises(UserError, match=message):
            dataset.frame(i)
    with pytest.raises(UserError, match=r"00000002\.jpg: is truncated"):
        dataset.frame(2)
    assert dataset.frame(COUNT + 2).name == "training/00000005"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: (r / "training_xyz.json").unlink(), r"training_xyz\.json: not found"),
        (lambda r: write(r / "training_K.json", np.eye(3)[None]), r"has 3 entries .* 1"),
        (lambda r: write(r / "training_mano.json", np.zeros((3, 61))), "entry 0 is no"),
        (lambda r: (r / "training_K.json").write_text("[]"), "holds no entries"),
    ],
)
def test_an_incomplete_or_malformed_set_is_named(tree, change, message):
    change(tree[0])
    with pytest.raises(UserError, match=message):
        FreiHAND(tree[0])


def write_masks(root, size=224):
    """A mask of hand i whose left 20 (i + 1) columns are the hand."""
    (root / "training/mask").mkdir()
    for i in range(COUNT):
        mask = np.zeros((size, size), np.uint8)
        mask[:, : 20 * (i + 1)] = 255
        assert cv2.imwrite(str(root / f"training/mask/{i:08d}.jpg"), mask)


def test_the_masks_of_the_hands_are_those_of_all_their_variants(tree):
    root, _ = tree
    write_masks(root)
    dataset = FreiHAND(root, masks=True)
    for i in (1, COUNT + 1, 3 * COUNT + 1):
        visible = dataset.frame(i).visible
        assert visible[:, :38].all() and not visible[:, 42:].any()  # JPEG blurs the edge
        assert make_sample(dataset.frame(i), 224, masks=True)["visible"].mean() == visible.mean()
    assert FreiHAND(root).frame(1).visible is None
    assert FreiHAND(root, "evaluation", masks=True).frame(1).visible is None


def test_masks_that_are_not_the_pictures_are_named(tree, caplog):
    root, _ = tree
    assert FreiHAND(root, masks=True).frame(0).visible is None
    assert "mask: not found" in caplog.text and "copy the masks" in caplog.text
    write_masks(root, 112)
    (root / "training/mask/00000001.jpg").unlink()
    with pytest.raises(UserError, match=r"mask.00000000\.jpg: has 112 x 112 .* 224 x 224; give"):
        FreiHAND(root, masks=True).frame(0)
    with pytest.raises(UserError, match=r"mask.00000001\.jpg: cannot be read .* copy the file"):
        FreiHAND(root, masks=True).frame(1)
