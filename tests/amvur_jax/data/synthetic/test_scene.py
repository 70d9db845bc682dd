"""What the made-up sequences show: limits of the hand, its views, its path."""

import numpy as np
import pytest

from amvur_jax.data.synthetic.scene import DIFFICULTIES, MAX_FRAMES, sample_sequence
from mano_jax import load_hand
from mano_jax.limits import POSE_HIGH, POSE_LOW
from mano_jax.rotations import rotation_matrix


@pytest.fixture(scope="module", params=["easy", "wide"])
def drawn(request):
    hand = load_hand()
    sequences = [
        sample_sequence(
            np.random.default_rng([s, 0]), hand, MAX_FRAMES, DIFFICULTIES[request.param]
        )
        for s in range(40)
    ]
    return request.param, sequences


def test_poses_stay_within_the_limits(drawn):
    for sequence in drawn[1]:
        fingers = sequence.pose[:, 1:]
        assert np.all(fingers >= POSE_LOW[1:] - 1e-6) and np.all(fingers <= POSE_HIGH[1:] + 1e-6)


def test_motion_is_smooth(drawn):
    for sequence in drawn[1]:
        wrist_relative = sequence.joints16_cam - sequence.joints16_cam[:, :1]
        step = np.linalg.norm(np.diff(wrist_relative, axis=0), axis=-1)
        # a tip in a quick turn of the wrist, at 30 frames a second; a jump would be a hand's length
        assert step.max() < 0.08
        assert np.linalg.norm(np.diff(sequence.trans, axis=0), axis=-1).max() < 0.07
        assert step.mean() > 1e-4


def test_easy_palms_look_at_the_camera_and_wide_hands_anywhere(drawn):
    name, sequences = drawn
    rotation = np.asarray(rotation_matrix(np.stack([s.pose[:, 0] for s in sequences])))
    to_camera = rotation[..., 2, 1]  # -y, out of the palm, on -z, towards the camera
    if name == "easy":
        assert to_camera.min() > np.cos(np.deg2rad(30)) - 1e-5
    else:
        assert to_camera.min() < -0.8 and to_camera.max() > 0.8


def test_turning_hands_turn_while_their_fingers_hardly_move():
    hand, speed = load_hand(), {}
    for name in ("easy", "turning"):
        fingers, turns = [], []
        for s in range(12):
            sequence = sample_sequence(
                np.random.default_rng([s, 1]), hand, MAX_FRAMES, DIFFICULTIES[name]
            )
            rotation = np.asarray(rotation_matrix(sequence.pose[:, 0]))
            trace = np.einsum("nij,nij->n", rotation[:-1], rotation[1:])
            turns.append(np.arccos(np.clip((trace - 1) / 2, -1, 1)).mean())
            fingers.append(np.abs(np.diff(sequence.pose[:, 1:], axis=0)).mean())
            to_camera = rotation[:, 2, 1].min()
            assert to_camera > np.cos(np.deg2rad(75)) - 1e-5
        speed[name] = np.array([np.mean(fingers), np.mean(turns)])
    ratio = speed["turning"] / speed["easy"]
    # four times as slow by the keys, and turned in a cone of 75 degrees in the place of one of 30
    assert ratio[0] < 0.4 and ratio[1] > 1.1


def test_hands_are_before_the_camera_and_some_leave_the_image(drawn):
    _, sequences = drawn
    leaving = []
    for sequence in sequences:
        joints = sequence.joints16_cam
        assert sequence.vertices_cam[..., 2].min() > 0.19
        assert 0.3 < np.median(joints[..., 2]) < 0.95
        pixels = (joints / joints[..., 2:]) @ sequence.K[:2].T
        leaving.append(np.any((pixels < 0) | (pixels > [640, 480]), axis=(1, 2)))
        assert np.all((pixels[:, 4] > 0) & (pixels[:, 4] < [640, 480]))
    assert 0.01 < np.mean(leaving) < 0.5


def test_a_shorter_sequence_is_the_beginning_of_a_longer_one():
    hand = load_hand()
    long, short = (
        sample_sequence(np.random.default_rng(0), hand, count, DIFFICULTIES["easy"])
        for count in (MAX_FRAMES, 7)
    )
    assert len(short) == 7
    np.testing.assert_array_equal(long.vertices_cam[:7], short.vertices_cam)
