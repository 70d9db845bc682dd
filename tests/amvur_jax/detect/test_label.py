"""Labels for pictures that have none: which pictures get them, and what they are."""

import json
import pathlib

import numpy as np

from amvur_jax.detect.detector import Detector
from amvur_jax.detect.label import label_pictures
from amvur_jax.files.image import read_image

PHOTOS = pathlib.Path(__file__).parents[2] / "recorded" / "photos"
HANDS = json.loads((PHOTOS / "hands.json").read_text())


def test_pictures_of_one_hand_are_labelled_and_the_others_counted(tmp_path):
    images = [read_image(PHOTOS / hand["file"]) for hand in HANDS]
    size = min(image.shape[0] for image in images)
    two = np.hstack([images[0][:size, :size], images[1][:size, :size]])
    pictures = [
        ("none", np.zeros((90, 90, 3), np.uint8)),
        ("right", images[0]),
        ("two", two),
        ("left", np.ascontiguousarray(images[1][:, ::-1])),
    ]
    labels, refused = label_pictures(iter(pictures), Detector(backend="opencv"))
    assert labels["names"].tolist() == ["right", "left"]
    assert labels["side"].tolist() == ["right", "left"]
    assert refused["several"] == 1 and refused.total() == 2
    joints = np.array(HANDS[1]["joints"]) * [-1, 1] + [images[1].shape[1], 0]
    apart = np.linalg.norm(labels["joints_px"][1] - joints, axis=1).mean()
    assert apart < 0.04 * np.ptp(joints, axis=0).max()
    shapes = {name: array.shape for name, array in labels.items()}
    assert shapes == {
        "names": (2,),
        "side": (2,),
        "box": (2, 4),
        "joints_px": (2, 21, 2),
        "depth": (2, 21),
        "joints_world": (2, 21, 3),
        "score": (2,),
    }
    np.savez(tmp_path / "labels.npz", **labels)
    with np.load(tmp_path / "labels.npz") as kept:  # nothing that needs a pickle
        assert kept["side"].tolist() == ["right", "left"]


def test_no_pictures_give_empty_arrays():
    labels, refused = label_pictures([], Detector(backend="opencv"))
    assert labels["joints_px"].shape == (0, 21, 2) and labels["names"].shape == (0,)
    assert not refused
