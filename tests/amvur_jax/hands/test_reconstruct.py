"""Photographs to hands with a tiny network of random parameters: laws that hold whatever it has learnt."""

import dataclasses
import re

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tiny import tiniest_config

import amvur_jax
import mano_jax
from amvur_jax import configuration, inference
from amvur_jax.data.frame import project
from amvur_jax.detect.detector import DetectedHand
from amvur_jax.detect.tips import finger_ends
from amvur_jax.errors import UserError
from amvur_jax.hands.hand import mirrored_box, mirrored_px
from amvur_jax.hands.reconstruct import Box, Reconstructor, reconstruct

WIDTH, HEIGHT = 90, 60
IMAGE = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
BOXES = [
    Box(np.array([10.0, 5, 40, 30]), "right"),
    Box(np.array([50.0, 20, 85, 50]), "left"),
    Box(np.array([30.0, 20, 60, 58])),
]
MARKS = np.random.default_rng(1).uniform(10, 40, (21, 2))


class OneHand:
    """A detector that sees one hand everywhere."""

    def __init__(self, side, score=0.9, joints=MARKS):
        box = np.concatenate([joints.min(0), joints.max(0)])
        depth = np.linspace(0, 3, 21)
        self.hand = DetectedHand(side, score, box, joints, depth, np.zeros((21, 3)))

    def __call__(self, image, thorough=False):
        return [self.hand]

    def landmarks(self, image, box, side=None):
        return self.hand if side is None else self.hand._replace(side=side)


@pytest.fixture(scope="module")
def predictor():
    config = tiniest_config("")
    config.model.pose_head, config.model.keypoint_head = "residual", True
    config.model.keypoints, config.model.predict_shape = "either", True
    config.model.pose_hidden, config.model.pose_blocks = 16, 1
    made = inference.untrained(configuration.to_dict(config))
    # Untrained heads say next to nothing: make their answers differ.
    head = made.state["params"]["prior"]["residual"]["out"]
    kernel = head["kernel"]
    head["kernel"] = 0.1 * jax.random.normal(jax.random.key(1), kernel.shape)
    return made


@pytest.fixture(scope="module")
def hands(predictor):
    return Reconstructor(predictor, None)(IMAGE, 70, BOXES)


def same(found, wanted, **tolerance):
    for name, value in wanted._asdict().items():
        if isinstance(value, float | np.ndarray):
            # A colour is one of 256: rounding may take the next one.
            limits = tolerance | {"atol": 1.5 / 255} if name == "colors" else tolerance
            np.testing.assert_allclose(getattr(found, name), value, err_msg=name, **limits)
        else:
            assert getattr(found, name) == value, name


def test_each_hand_is_as_if_it_were_alone_whatever_it_is_padded_with(predictor, hands):
    assert [hand.side for hand in hands] == ["right", "left", "right"]
    for box, hand in zip(BOXES, hands):
        (alone,) = Reconstructor(predictor, None)(IMAGE, 70, [box])
        same(hand, alone, atol=2e-4, rtol=1e-4)
    assert np.abs(hands[0].finger_pose - hands[2].finger_pose).max() > 0.01


def test_hands_of_several_cameras_and_pictures_are_as_if_alone(predictor, hands):
    """Together with those of a mirror image that a longer lens saw."""
    reconstructor = Reconstructor(predictor, None)
    other = np.ascontiguousarray(IMAGE[:-10, ::-1])
    seen = (IMAGE, 70, BOXES[:2]), (other, 150, BOXES[2:])
    found = reconstructor.hands([sight for one in seen for sight in reconstructor.sights(*one)])
    for hand, wanted in zip(found[:2], hands):
        same(hand, wanted, atol=2e-4, rtol=1e-4)
    same(found[2], reconstructor(*seen[1])[0], atol=2e-4, rtol=1e-4)
    assert found[2].K[0, 0] == 150


def test_crops_alone_give_the_same_hands_but_for_their_colours(predictor, hands):
    reconstructor = Reconstructor(predictor, None)
    crops = reconstructor.crops(reconstructor.sights(IMAGE, 70, BOXES))
    for hand, wanted in zip(reconstructor.cropped_hands(crops), hands, strict=True):
        for name, value in wanted._asdict().items():
            if name == "colors":
                assert np.isnan(hand.colors).all() and hand.colors.shape == value.shape
            else:
                np.testing.assert_array_equal(getattr(hand, name), value, err_msg=name)


@pytest.mark.parametrize("together", [2, 20])
def test_batches_of_the_size_that_is_asked_for(predictor, hands, monkeypatch, together):
    sizes = []
    answered = inference.Predictor.answered
    monkeypatch.setattr(
        inference.Predictor,
        "answered",
        lambda self, images, **kw: sizes.append(len(images)) or answered(self, images, **kw),
    )
    found = Reconstructor(predictor, None, together=together)(IMAGE, 70, BOXES * 6)
    assert sizes == ([2] * 9 if together == 2 else [20])
    for hand, wanted in zip(found, hands * 6, strict=True):
        same(hand, wanted, atol=2e-4, rtol=1e-4)


def test_only_a_few_sizes_of_batches_are_compiled(predictor, monkeypatch):
    seen = []
    whole = inference.Predictor.answered
    monkeypatch.setattr(
        inference.Predictor,
        "answered",
        lambda self, images, **rest: seen.append(len(images)) or whole(self, images, **rest),
    )
    reconstructor = Reconstructor(predictor, None)
    for count in (1, 2, 3, 4):
        assert len(reconstructor(IMAGE, 70, (BOXES * 2)[:count])) == count
    assert seen == [1, 4, 4, 4]
    assert reconstructor(IMAGE, 70, []) == []


def test_three_programs_are_compiled_for_a_photograph(predictor, caplog):
    fresh = dataclasses.replace(predictor)
    jax.clear_caches()
    with jax.log_compiles():
        Reconstructor(fresh, OneHand("right"))(IMAGE, 70)
    found = re.findall(r"Finished XLA compilation of jit\((\w+)\)", caplog.text)
    assert sorted(found) == ["_unturned", "answered", "refine"]


def test_a_mirrored_photograph_has_every_number_mirrored(predictor, hands):
    other = {"right": "left", "left": "right"}
    boxes = [
        Box(mirrored_box(box, WIDTH), other[hand.side]) for (box, _), hand in zip(BOXES, hands)
    ]
    found = Reconstructor(predictor, None)(np.ascontiguousarray(IMAGE[:, ::-1]), 70, boxes)
    flip, axial = np.array([-1, 1, 1]), np.array([1, -1, -1])
    for a, b in zip(hands, found):
        assert b.side == other[a.side]
        for name in ("vertices_cam", "joints_cam", "translation"):
            np.testing.assert_allclose(getattr(b, name), getattr(a, name) * flip, atol=1e-5)
        for name in ("wrist_rotation", "finger_pose", "finger_pose_from_mean"):
            np.testing.assert_allclose(getattr(b, name), getattr(a, name) * axial, atol=1e-4)
        for name in ("betas", "joints_sigma_mm", "vertices_sigma_mm", "score", "K", "colors"):
            np.testing.assert_allclose(getattr(b, name), getattr(a, name), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(b.joints_px, mirrored_px(a.joints_px, WIDTH), atol=1e-3)
        np.testing.assert_allclose(b.box, mirrored_box(a.box, WIDTH))


def test_the_parameters_give_the_mesh_in_the_model_of_the_side(hands):
    @jax.jit
    def posed(model, pose, betas):
        return model.with_shape(betas).with_pose(pose).vertices

    for hand in hands:
        model = mano_jax.load_hand(side=hand.side)
        pose = np.concatenate([hand.wrist_rotation[None], hand.finger_pose])
        vertices = posed(model, pose, hand.betas) + hand.translation
        np.testing.assert_allclose(vertices, hand.vertices_cam, atol=2e-5)
        mean = np.asarray(model.mean_pose).reshape(15, 3)
        np.testing.assert_allclose(hand.finger_pose_from_mean + mean, hand.finger_pose, atol=1e-6)
        assert np.linalg.norm(hand.betas) > 0.01


def test_joints_are_seen_where_it_is_said(hands):
    for (box, _), hand in zip(BOXES, hands):
        np.testing.assert_allclose(project(hand.joints_cam, hand.K), hand.joints_px)
        assert hand.joints_cam[:, 2].min() > 0
        np.testing.assert_array_equal(hand.K, [[70, 0, 45], [0, 70, 30], [0, 0, 1]])
        assert hand.focal_source == "given" and not hand.sigma_calibrated
        assert np.isnan(hand.landmarks_px).all() and hand.score == 1
        np.testing.assert_array_equal(hand.box, box)


def test_sigma_has_a_temperature_for_each_source_of_joints(predictor):
    detector = OneHand("right")
    for field, calibrated in (
        ("temperature", [True, False]),
        ("temperature_given", [False, True]),
    ):
        fitted = dataclasses.replace(predictor, **{field: 4.0})
        for known, where in zip(calibrated, ((None, BOXES[:1]), (detector, None))):
            (plain,) = Reconstructor(predictor, where[0])(IMAGE, 70, where[1])
            (hand,) = Reconstructor(fitted, where[0])(IMAGE, 70, where[1])
            assert hand.sigma_calibrated == known and not plain.sigma_calibrated
            factor = hand.vertices_sigma_mm / plain.vertices_sigma_mm
            np.testing.assert_allclose(factor, 2 if known else 1, rtol=1e-5)


def test_a_longer_focal_length_puts_it_farther_and_leaves_its_shape(predictor, hands):
    (far,) = Reconstructor(predictor, None)(IMAGE, 700, BOXES[:1])
    assert far.joints_cam[:, 2].mean() > 5 * hands[0].joints_cam[:, 2].mean()
    sides = [np.linalg.norm(np.diff(h.vertices_cam, axis=0), axis=-1) for h in (far, hands[0])]
    np.testing.assert_allclose(*sides, atol=1e-5)
    (assumed,) = Reconstructor(predictor, None)(IMAGE, None, BOXES[:1])
    assert assumed.focal_source == "assumed"
    assert assumed.K[0, 0] == pytest.approx(28 * np.hypot(90, 60) / np.hypot(36, 24))
    with pytest.raises(UserError, match="focal=0"):
        Reconstructor(predictor, None)(IMAGE, 0, BOXES[:1])


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_detectors_landmarks_say_where_the_hand_is(predictor, side):
    (hand,) = Reconstructor(predictor, OneHand(side), refine=False)(IMAGE, 70)
    assert hand.side == side and hand.score == 0.9 and not hand.refined
    np.testing.assert_allclose(hand.landmarks_px, MARKS, atol=1e-9)
    # the law of its place: X Z is what all joints together are seen at
    rays = (finger_ends(MARKS) - [45, 30]) / 70
    lacking = hand.joints_cam[:, :2] - rays * hand.joints_cam[:, 2:]
    np.testing.assert_allclose(lacking.mean(0), 0, atol=1e-4)
    (refined,) = Reconstructor(predictor, OneHand(side))(IMAGE, 70)
    before, after = (np.linalg.norm(h.joints_px - MARKS, axis=-1).mean() for h in (hand, refined))
    assert refined.refined and after < before


def test_the_parameters_of_refined_hands_give_their_mesh_and_mirror(predictor):
    mirrored = mirrored_px(MARKS, WIDTH)
    images = IMAGE, np.ascontiguousarray(IMAGE[:, ::-1])
    found = [
        Reconstructor(predictor, OneHand(side, joints=marks))(image, 70)[0]
        for side, marks, image in zip(("right", "left"), (MARKS, mirrored), images)
    ]
    for hand in found:
        model = mano_jax.load_hand(side=hand.side)
        pose = np.concatenate([hand.wrist_rotation[None], hand.finger_pose])
        vertices = model.with_shape(hand.betas).with_pose(pose).vertices + hand.translation
        np.testing.assert_allclose(vertices, hand.vertices_cam, atol=3e-5)
        np.testing.assert_allclose(project(hand.joints_cam, hand.K), hand.joints_px)
    right, left = found
    np.testing.assert_allclose(left.vertices_cam, right.vertices_cam * [-1, 1, 1], atol=1e-4)


def test_landmarks_in_a_box_count_where_they_are_believed(predictor):
    for score, believed in ((0.9, True), (0.2, False)):
        (hand,) = Reconstructor(predictor, OneHand("left", score))(IMAGE, 70, BOXES[:1])
        assert hand.side == "right" and np.isfinite(hand.landmarks_px).all() == believed
    (hand,) = Reconstructor(predictor, OneHand("left"))(IMAGE, 70, BOXES[2:])
    assert hand.side == "left"


def test_without_detector_and_box_the_picture_is_one_hand(predictor):
    (hand,) = Reconstructor(predictor, None, side="left")(IMAGE, 70)
    assert hand.side == "left"
    np.testing.assert_array_equal(hand.box, [0, 0, WIDTH, HEIGHT])
    with pytest.raises(UserError, match="middle is outside the picture, which is 90 x 60 px"):
        Reconstructor(predictor, None)(IMAGE, 70, [Box(np.array([80.0, 5, 120, 30]))])


def test_the_wrist_is_turned_as_the_whole_hand_is(hands):
    # a hand whose fingers are turned back by its wrist's own turn lies in the model's axes: fingers along -x
    right = hands[0]
    back = Rotation.from_rotvec(right.wrist_rotation).inv()
    along = back.apply(right.joints_cam[9] - right.joints_cam[0])
    assert along[0] < 0 and abs(along[0]) > 2 * np.abs(along[1:]).max()


def test_the_package_has_it_by_name():
    assert amvur_jax.reconstruct is reconstruct
    with pytest.raises(AttributeError, match="'nothing'"):
        amvur_jax.nothing  # noqa: B018
