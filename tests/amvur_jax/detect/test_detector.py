"""Hands found in photographs, turned and mirrored ones, and in what shows none."""

import importlib.util
import json
import pathlib

import cv2
import numpy as np
import pytest
from blobs import blob, centroid

from amvur_jax.detect.detector import Detector
from amvur_jax.detect.squares import Square
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image

PHOTOS = pathlib.Path(__file__).parents[2] / "recorded" / "photos"
HANDS = json.loads((PHOTOS / "hands.json").read_text())
OTHER = {"right": "left", "left": "right"}


@pytest.fixture(scope="module")
def detector():
    return Detector(backend="opencv")


@pytest.fixture(params=HANDS, ids=lambda hand: hand["file"])
def photo(request):
    return read_image(PHOTOS / request.param["file"]), request.param


def off(joints, truth):
    """Mean distance over the longer side of the true joints' box."""
    truth = np.asarray(truth)
    return np.linalg.norm(joints - truth, axis=1).mean() / np.ptp(truth, axis=0).max()


def test_a_photo_has_its_hand(detector, photo):
    image, truth = photo
    (hand,) = detector(image)
    assert hand.side == truth["hand"] and hand.score > 0.9
    assert off(hand.joints_px, truth["joints"]) < 0.04
    np.testing.assert_array_equal(hand.box[:2], hand.joints_px.min(0))
    np.testing.assert_array_equal(hand.box[2:], hand.joints_px.max(0))
    assert detector.checked(image, hand)
    # A hand's length, and its picture up to a scale.
    assert not hand.joints_world[0].any() and hand.depth[0] == 0
    assert (
        0.12
        < np.linalg.norm(np.diff(hand.joints_world[[0, 9, 10, 11, 12]], axis=0), axis=1).sum()
        < 0.25
    )
    world, seen = hand.joints_world[:, :2], hand.joints_px - hand.joints_px[0]
    assert off((world * seen).sum() / (world**2).sum() * world, seen) < 0.06


def test_fingers_bent_over_a_palm_that_is_seen_are_nearer(detector):
    image = read_image(PHOTOS / "digit_IMG_4757_0.jpg")  # ring finger and pinky are bent
    (hand,) = detector(image)
    bent, knuckles = [15, 19], [13, 17]
    size = np.ptp(hand.joints_px, axis=0).max()
    assert (hand.depth[bent] < hand.depth[knuckles] - 0.1 * size).all()
    assert (hand.joints_world[bent, 2] < hand.joints_world[knuckles, 2] - 0.02).all()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo_has_the_turned_hand(detector, photo, quarters):
    image, _ = photo
    (upright,) = detector(image)
    joints, world = upright.joints_px, upright.joints_world
    for _ in range(quarters):  # as np.rot90, counter-clockwise
        joints = np.stack([joints[:, 1], image.shape[1] - joints[:, 0]], 1)
        world = np.stack([world[:, 1], -world[:, 0], world[:, 2]], 1)
    turned = np.ascontiguousarray(np.rot90(image, quarters))
    for hand in (*detector(turned), detector.landmarks(turned, [*joints.min(0), *joints.max(0)])):
        assert hand.side == upright.side
        assert off(hand.joints_px, joints) < 0.03
        assert np.linalg.norm(hand.joints_world - world, axis=1).mean() < 0.01


def test_a_mirrored_photo_has_the_mirrored_hand(detector, photo):
    image, truth = photo
    (hand,) = detector(image)
    (mirrored,) = detector(np.ascontiguousarray(image[:, ::-1]))
    assert mirrored.side == OTHER[truth["hand"]]
    assert off(mirrored.joints_px * [-1, 1] + [image.shape[1], 0], hand.joints_px) < 0.03
    assert np.abs(mirrored.joints_world * [-1, 1, 1] - hand.joints_world).mean() < 0.01


def test_a_hand_that_fills_a_picture_of_100_px(detector, photo):
    image, truth = photo
    x1, y1, x2, y2 = np.array(truth["box"]).astype(int)
    side = max(x2 - x1, y2 - y1) + 20
    x, y = max((x1 + x2 - side) // 2, 0), max((y1 + y2 - side) // 2, 0)
    part = image[y : y + side, x : x + side]
    small = cv2.resize(part, (100, 100), interpolation=cv2.INTER_AREA)
    joints = (np.array(truth["joints"]) - [x, y]) * 100 / part.shape[1::-1]
    (hand,) = detector(small)
    assert hand.side == truth["hand"] and off(hand.joints_px, joints) < 0.05
    assert off(detector.landmarks(small, [0, 0, 100, 100]).joints_px, joints) < 0.05


def test_a_small_hand_is_found_by_thorough_search(detector):
    image, truth = read_image(PHOTOS / HANDS[1]["file"]), HANDS[1]
    large = np.full((1200, 1600, 3), 120, np.uint8)
    large[700:850, 1100:1250] = cv2.resize(image, (150, 150), interpolation=cv2.INTER_AREA)
    joints = np.array(truth["joints"]) * 150 / image.shape[0] + [1100, 700]
    assert detector(large) == []
    (hand,) = detector(large, thorough=True)
    assert hand.side == truth["hand"] and off(hand.joints_px, joints) < 0.05


def test_two_hands_are_found_at_once_or_thoroughly(detector):
    images = [cv2.resize(read_image(PHOTOS / hand["file"]), (400, 400)) for hand in HANDS[1:]]
    both = np.hstack([images[0], images[1][:, ::-1]])
    for thorough in (False, True):
        hands = sorted(detector(both, thorough), key=lambda hand: hand.box[0])
        assert [hand.side for hand in hands] == ["right", "left"]
        assert hands[0].box[2] < 400 < hands[1].box[0]


def test_landmarks_that_are_wrong_do_not_pass_the_check(detector, photo):
    image, _ = photo
    (hand,) = detector(image)
    longest = (hand.box[2:] - hand.box[:2]).max()
    assert detector.fault(image, hand._replace(side=OTHER[hand.side])) == "side"
    moved = hand.joints_px + [0.1 * longest, 0]
    assert detector.fault(image, hand._replace(joints_px=moved)) == "off"
    assert detector.fault(np.zeros_like(image), hand) is not None


def test_a_side_that_is_known_is_kept(detector, photo):
    image, truth = photo
    for side in ("right", "left"):
        assert detector.landmarks(image, truth["box"], side).side == side


def test_a_hand_is_followed(detector, photo):
    image, truth = photo
    before = np.array(truth["joints"]) + 0.1 * np.ptp(truth["joints"], axis=0).max()
    assert off(detector.follow(image, before).joints_px, truth["joints"]) < 0.04


@pytest.mark.parametrize("angle", [0.0, 0.7, -2.5])
@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("zoom", [1, 9])
def test_coordinates_come_back_to_the_picture(detector, monkeypatch, angle, mirror, zoom):
    """With a network that says where the light is: half a pixel wrong anywhere would show."""
    at, square = (
        zoom * np.array([151.3, 92.8]),
        Square(zoom * np.array([140.0, 100]), zoom * 150, angle),
    )

    def network(pixels):
        x, y = centroid(pixels[0])
        points = np.tile([x, y, 0.0], (21, 1))
        points[1:, 2] = 7
        world = np.zeros((21, 3))
        world[1:] = [0, -0.1, 0.02]  # up in the crop
        return [points, np.array([0.9]), np.array([0.2]), world]

    monkeypatch.setattr(detector, "_landmarks", network)
    hand = detector._look(blob((300 * zoom, 200 * zoom), at, 9 * zoom), square, mirror)
    np.testing.assert_allclose(hand.joints_px, np.tile(at, (21, 1)), atol=0.03 * zoom)
    up = 0.1 * np.array([np.sin(angle), -np.cos(angle)])
    np.testing.assert_allclose(hand.joints_world[1:], np.tile([*up, 0.02], (20, 1)), atol=1e-9)
    assert hand.side == ("right" if mirror else "left")
    # 4 px of depth for each of the network's, see docs/detector.md
    np.testing.assert_allclose(hand.depth[1:], zoom * 4 * 7 * 150 / 224)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5000), (37, 3), (480, 640)])
def test_what_shows_no_hand_has_none(detector, shape):
    for image in (np.zeros((*shape, 3), np.uint8), np.full((*shape, 3), 200, np.uint8)):
        assert detector(image) == []
        hand = detector.landmarks(image, [0, 0, shape[1], shape[0]])
        assert hand.score < 0.5 and np.isfinite(hand.joints_px).all()


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((9, 9), np.uint8),
        np.zeros((9, 9, 4), np.uint8),
        np.zeros((9, 9, 3)),
        np.zeros((0, 9, 3), np.uint8),
        [[[1, 2, 3]]],
    ],
    ids=["gray", "RGBA", "float", "empty", "list"],
)
def test_another_image_is_refused(detector, image):
    for call in (lambda: detector(image), lambda: detector.landmarks(image, [0, 0, 5, 5])):
        with pytest.raises(UserError, match=r"expected \(H, W, 3\) uint8 RGB, got"):
            call()


@pytest.mark.parametrize(
    "box",
    [
        [50, 0, 90, 20],
        [-20, 0, 0, 20],
        [30, 5, 20, 9],
        [5, 5, 5, 9],
        [0, 0, np.nan, 9],
        [0, 0, np.inf, 9],
        [1, 2, 3],
    ],
)
def test_a_box_without_area_in_the_picture_is_refused(detector, box):
    with pytest.raises(UserError, match="picture of 50 x 40"):
        detector.landmarks(np.zeros((40, 50, 3), np.uint8), box)


def test_a_box_far_larger_than_the_picture_is_cut(detector, photo):
    image, _ = photo
    detector.landmarks(image, [-1e9, -1e9, 1e9, 1e9])


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None, reason="ai-edge-litert is not installed"
)
def test_both_libraries_find_the_same(detector, photo):
    image, _ = photo
    for ours, theirs in zip(detector(image), Detector(backend="litert")(image), strict=True):
        assert ours.side == theirs.side
        np.testing.assert_allclose(ours.joints_px, theirs.joints_px, rtol=0, atol=0.1)
        np.testing.assert_allclose(ours.joints_world, theirs.joints_world, rtol=0, atol=1e-3)
