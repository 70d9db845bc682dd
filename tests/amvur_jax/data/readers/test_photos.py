"""Photographs with 2D joints alone: what is read, and what is refused with its entry named."""

import json

import cv2
import numpy as np
import pytest
from labels import labelled_hand

from amvur_jax.data.open import open_dataset, splits_of
from amvur_jax.data.readers.hands_csv import write_hands
from amvur_jax.data.readers.photos import Photos
from amvur_jax.data.sample import make_sample
from amvur_jax.errors import UserError

JOINTS = (np.random.default_rng(0).uniform(20, 80, (21, 2))).round(2)


def write(root, *entries, text=None):
    (root / "a").mkdir(parents=True, exist_ok=True)
    picture = np.random.default_rng(1).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(root / "a" / "x.png"), picture)
    (root / "hands.json").write_text(json.dumps(list(entries)) if text is None else text)


def entry(**changes):
    return {"file": "a/x.png", "hand": "right", "joints": JOINTS.tolist(), **changes}


def test_a_photo_has_its_joints_and_no_other_label(tmp_path):
    write(tmp_path, entry(), entry(hand="left", box=[10, 20, 90, 85], score=0.9))
    photos = open_dataset(tmp_path)
    assert isinstance(photos, Photos) and len(photos) == 2 and splits_of(tmp_path) == ["train"]
    frame = photos.frame(0)
    np.testing.assert_array_equal(frame.joints_px, JOINTS)
    np.testing.assert_array_equal(frame.box, [*JOINTS.min(0), *JOINTS.max(0)])
    assert frame.joints_cam is None and frame.pose is None and frame.image.shape == (90, 120, 3)
    np.testing.assert_array_equal(photos.frame(1).box, [10, 20, 90, 85])
    assert photos.frame(1).side == "left"


def test_a_left_hand_is_learnt_from_as_a_right_one(tmp_path):
    mirrored = np.column_stack([120 - JOINTS[:, 0], JOINTS[:, 1]])
    write(tmp_path, entry(), entry(hand="left", joints=mirrored.tolist()))
    right, left = (make_sample(open_dataset(tmp_path).frame(i), 64) for i in range(2))
    np.testing.assert_allclose(left["joints_2d"], right["joints_2d"], atol=1e-6)
    assert right["has_image"] == 1 and right["has_3d"] == right["has_mesh"] == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"file": "../x.png"}, "leaves the folder"),
        ({"file": "/etc/x.png"}, "leaves the folder"),
        ({"file": 3}, "file: expected"),
        ({"hand": "both"}, "hand: 'both'"),
        ({"joints": JOINTS[:20].tolist()}, "joints: expected 21"),
        ({"joints": [[None, 1]] * 21}, "joints: expected 21"),
        ({"joints": [[float("inf"), 1]] * 21}, "joints: expected 21|no JSON"),
        ({"box": [5, 5, 5, 9]}, "box: expected"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, changes, message):
    write(tmp_path, entry(), entry(**changes))
    with pytest.raises(UserError, match=message) as error:
        Photos(tmp_path)
    assert "hands.json" in str(error.value)


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", "nonsense"])
def test_what_is_no_list_of_hands_is_refused(tmp_path, text):
    write(tmp_path, text=text)
    with pytest.raises(UserError, match=r"hands\.json"):
        Photos(tmp_path)


def test_a_byte_order_mark_is_no_fault_and_evaluation_is(tmp_path):
    write(tmp_path, text="\ufeff" + json.dumps([entry()]))
    assert len(Photos(tmp_path)) == 1
    with pytest.raises(UserError, match="no evaluation split"):
        open_dataset(tmp_path, "evaluation")


def labelled(number, **changes):
    """The hand of that number of the one picture."""
    fields = {"joints": JOINTS, "confidence": np.linspace(0, 1, 21)}
    return labelled_hand(**fields | {"hand": number, "frame": number} | changes)


def write_csv(root, *hands):
    write(root)
    (root / "hands.json").unlink()
    write_hands(root / "hands.csv", hands)


def test_the_kept_hands_of_a_csv_are_in_their_splits(tmp_path):
    write_csv(
        tmp_path,
        labelled(0),
        labelled(1, keep=False),
        labelled(2, split="evaluation"),
        labelled(3, side="left"),
    )
    train, held = (open_dataset(tmp_path, split) for split in ("train", "evaluation"))
    assert [hand.frame for hand in train.hands] == [0, 3] and len(held) == 1
    assert splits_of(tmp_path) == ["train", "evaluation"]
    assert held.frame(0).joints_cam is None and train.frame(1).side == "left"


def test_the_confidence_of_a_joint_is_its_weight(tmp_path):
    """And what has none neither counts nor makes the crop."""
    confidence, far = np.linspace(0, 1, 21), JOINTS.copy()
    far[0] = -500, 500
    write_csv(tmp_path, labelled(0, joints=far, confidence=confidence))
    frame = open_dataset(tmp_path).frame(0)
    np.testing.assert_array_equal(frame.box, [*JOINTS[1:].min(0), *JOINTS[1:].max(0)])
    np.testing.assert_allclose(make_sample(frame, 64)["joints_valid"], confidence, atol=1e-3)
    write(tmp_path / "listed", entry())
    plain = make_sample(open_dataset(tmp_path / "listed").frame(0), 64)
    assert (plain["joints_valid"] == 1).all()


def test_a_csv_that_is_not_finished_is_refused(tmp_path):
    write_csv(tmp_path, labelled(0), labelled(1, split=""))
    with pytest.raises(UserError, match="labelling was interrupted"):
        open_dataset(tmp_path)
    write_csv(tmp_path, labelled(0))
    with pytest.raises(UserError, match="no hand of the split evaluation is kept"):
        open_dataset(tmp_path, "evaluation")
    (tmp_path / "label.json").write_text('{"rows": 2}')
    with pytest.raises(UserError, match=r"hands\.csv: line 3: row 2 is missing"):
        open_dataset(tmp_path)
    (tmp_path / "label.json").write_text("[]")
    with pytest.raises(UserError, match=r"label\.json"):
        open_dataset(tmp_path)


def test_a_picture_that_was_exchanged_is_named(tmp_path):
    write_csv(tmp_path, labelled(0, size=(121, 90)))
    with pytest.raises(UserError, match=r"x\.png: has 120 x 90 pixels"):
        open_dataset(tmp_path).frame(0)
