"""Evaluation on pictures that have 2D labels alone."""

import json

import cv2
import numpy as np
import pytest
from scripted import at
from tiny import tiniest_config

from amvur_jax import configuration, inference
from amvur_jax.data.open import open_dataset
from amvur_jax.data.readers.hands_csv import LabelledHand, write_hands
from amvur_jax.data.sample import make_sample
from amvur_jax.detect.detector import DetectedHand, expected_error
from amvur_jax.detect.tips import landmark_tips
from amvur_jax.errors import UserError
from amvur_jax.evaluate import evaluate

RNG = np.random.default_rng(0)
WIDTH, HEIGHT = 160, 128
IMAGES = [RNG.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(5)]
JOINTS = [at("right", 60 + 6 * i, 64).joints_px.round(2) for i in range(5)]
CONFIDENCE = RNG.uniform(0.2, 1, (5, 21)).round(3)


@pytest.fixture(scope="module")
def predictor():
    config = tiniest_config("")
    configuration.check(config)
    return inference.untrained(configuration.to_dict(config))


def write(root, mirrored=False):
    """A folder of right hands, or of their mirror images, which are left ones."""
    root.mkdir()
    hands = []
    for i, (image, joints) in enumerate(zip(IMAGES, JOINTS)):
        if mirrored:
            image, joints = image[:, ::-1], [WIDTH, 0] + joints * [-1, 1]
        cv2.imwrite(str(root / f"{i}.png"), image)
        side = "left" if mirrored else "right"
        about = (f"{i}.png", 0, "clip", 5 * i, (WIDTH, HEIGHT), "evaluation", side, True, "", 1.0)
        hands.append(LabelledHand(*about, joints, CONFIDENCE[i]))
    write_hands(root / "hands.csv", hands)
    return root


def test_2d_labels_are_scored_in_2d(predictor, tmp_path):
    root = write(tmp_path / "mine")
    scores = evaluate(predictor, tmp_path / "out", root, batch_size=2)
    dataset = open_dataset(root, "evaluation")
    share, px = [], []
    for i, joints in enumerate(JOINTS):
        sample = make_sample(dataset.frame(i), predictor.size, crop_scale=predictor.crop_scale)
        found = np.asarray(predictor.joints_2d(predictor(sample["image"][None], paint=0)))[0]
        off = np.linalg.norm(found - sample["joints_2d"], axis=-1)
        # in shares of the crop, both
        length = np.ptp(sample["joints_2d"], axis=0).max()
        share.append(off / length)
        px.append(224 * off)
        assert length == pytest.approx(
            np.ptp(joints, axis=0).max() * np.sqrt(np.linalg.det(sample["crop"])) / predictor.size
        )
    assert scores["error_of_box"] == pytest.approx(np.average(share, weights=CONFIDENCE), rel=1e-3)
    assert scores["joints_2d_px"] == pytest.approx(np.average(px, weights=CONFIDENCE), rel=1e-3)
    assert scores["hands"] == 5 and scores["triples"] == 3
    assert json.loads((tmp_path / "out" / "scores.json").read_text()) == scores
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"scores.json", "scores.txt"}


def test_a_detectors_joints_are_given_frame_by_frame(tmp_path):
    """As when each crop is given its own labels by itself; without them the scores are others."""
    config = tiniest_config("")
    config.model.pose_head, config.model.keypoints = "residual", "either"
    config.model.pose_hidden, config.model.pose_blocks = 16, 1
    predictor = inference.untrained(configuration.to_dict(config))
    root = write(tmp_path / "mine")
    dataset = open_dataset(root, "evaluation")

    class Knowing:
        def landmarks(self, image, box, side):
            (i,) = (i for i in range(5) if np.array_equal(image, dataset.frame(i).image))
            marks = landmark_tips(JOINTS[i])
            return DetectedHand(side, 0.9, box, marks, np.zeros(21), np.zeros((21, 3)))

    found = evaluate(predictor, None, root, batch_size=2, detector=Knowing())
    share, scale = [], predictor.crop_scale
    for i in range(5):
        sample = make_sample(dataset.frame(i), predictor.size, crop_scale=scale)
        outputs = predictor(
            sample["image"][None],
            paint=0,
            joints=sample["joints_2d"][None] * predictor.size,
            depth=np.zeros((1, 21)),
            off=expected_error(np.array([0.9])),
        )
        off = np.asarray(predictor.joints_2d(outputs))[0] - sample["joints_2d"]
        share.append(np.linalg.norm(off, axis=-1) / np.ptp(sample["joints_2d"], axis=0).max())
    wanted = np.average(share, weights=CONFIDENCE)
    assert found["error_of_box"] == pytest.approx(wanted, rel=1e-3)
    without = evaluate(predictor, None, root, batch_size=2)["error_of_box"]
    assert abs(without - wanted) > 0.05 * wanted


def test_left_hands_score_as_their_mirror_images_do(predictor, tmp_path):
    right = evaluate(predictor, None, write(tmp_path / "right"), batch_size=5)
    left = evaluate(predictor, None, write(tmp_path / "left", mirrored=True), batch_size=5)
    assert left == pytest.approx(right, rel=1e-3, abs=1e-6)


def test_what_2d_labels_cannot_give_is_refused(predictor, tmp_path, tree):
    root = write(tmp_path / "mine")
    with pytest.raises(UserError, match="no ground truth to fit a temperature"):
        evaluate(predictor, tmp_path / "out", root, calibrate=tmp_path)
    with pytest.raises(UserError, match="--output=DIR is needed"):
        evaluate(predictor, None, tree)
