"""The COCO-like JSON: written, joined by file name, read in the place of the meta files."""

import json
import shutil

import numpy as np
import pytest
from trees import write_ho3d

from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.readers.ho3d_coco import (
    Annotations,
    annotation_path,
    compare,
    write_annotations,
)
from amvur_jax.errors import UserError

F = np.array([1.0, -1.0, -1.0])


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "HO3D"
    return root, write_ho3d(root, train=4, evaluation=2)


def shuffle(path):
    """The same file with both lists in another order and other ids."""
    content = json.loads(path.read_text())
    for entry in content["images"]:
        entry["id"] = 1000 - entry["id"]
    for entry in content["annotations"]:
        entry["image_id"] = 1000 - entry["image_id"]
    content["annotations"] = content["annotations"][::-1]
    content["images"] = content["images"][1:] + content["images"][:1]
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("split", ["train", "evaluation"])
def test_a_tree_without_meta_is_read_from_the_file_by_file_name(tree, split):
    root, _ = tree
    dataset = HO3D(root, split)
    expected = [dataset.frame(i) for i in range(len(dataset))]
    path = annotation_path(root, split)
    write_annotations(dataset, path)
    shuffle(path)
    found = compare(Annotations(path), dataset)
    assert found["both"] == len(dataset) and not found["only_file"] + found["only_tree"]
    assert found["largest_mm"] < 1e-6 and found["largest_px"] < 1e-6
    folders = list((root / split).glob("*/meta"))
    assert len(folders) == 2
    for folder in folders:
        shutil.rmtree(folder)
    again = HO3D(root, split)
    for i, frame in enumerate(expected):
        other = again.frame(i)
        assert other.name == frame.name
        for field in ("K", "box", "wrist_cam", "joints_cam", "pose", "betas"):
            if getattr(frame, field) is None:
                assert getattr(other, field) is None
            else:
                np.testing.assert_allclose(getattr(other, field), getattr(frame, field), atol=1e-9)


def test_the_file_holds_what_others_expect(tree):
    root, written = tree
    write_annotations(HO3D(root), annotation_path(root, "train"))
    write_annotations(HO3D(root, "evaluation"), annotation_path(root, "evaluation"))
    content = json.loads((root / "annotations/HO3D_train_data.json").read_text())
    image = next(i for i in content["images"] if i["file_name"] == "TR1/rgb/0001.png")
    entry = next(a for a in content["annotations"] if a["image_id"] == image["id"])
    meta = written["TR1/0001"][1]
    # Joint 1 of the model's order is 13 of HO-3D's, the thumb's first.
    np.testing.assert_allclose(entry["joints_coord_cam"][1], meta["handJoints3D"][13] * F)
    np.testing.assert_allclose(entry["cam_param"]["focal"], [615, 617])
    np.testing.assert_allclose(entry["cam_param"]["princpt"], [312, 241])
    assert np.shape(entry["mano_param"]["pose"]) == (48,)
    np.testing.assert_allclose(entry["mano_param"]["shape"], meta["handBeta"])
    content = json.loads((root / "annotations/HO3D_evaluation_data.json").read_text())
    assert content["annotations"][0]["bbox"] == [250, 180, 170.5, 150]
    meta = written["EV0/0000"][1]
    np.testing.assert_allclose(
        content["annotations"][0]["root_joint_cam"], meta["handJoints3D"] * F
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["annotations"].pop(), "has no entry for"),
        (lambda c: c["annotations"][-1].pop("cam_param"), "has no cam_param"),
        (lambda c: c["annotations"][-1].update(joints_coord_cam=[[0, 0, 1]]), "joints_coord_cam"),
        (lambda c: c["images"][0].update(file_name="../../etc/passwd"), "is no SEQ/rgb"),
        (lambda c: c.pop("images"), "is no COCO-like annotation"),
    ],
)
def test_a_bad_file_is_named(tree, change, message):
    root, _ = tree
    path = annotation_path(root, "train")
    write_annotations(HO3D(root), path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"HO3D_train_data\.json: .*{message}"):
        for name in HO3D(root).names:
            Annotations(path).labels(name)
