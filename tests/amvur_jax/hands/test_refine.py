"""Hands moved to a detector's landmarks: laws, and SciPy's answer to the same sum of squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from scipy.spatial.transform import Rotation

import mano_jax
from amvur_jax.hands.refine import Posed, refine
from amvur_jax.scoring.metrics import procrustes
from mano_jax.limits import POSE_HIGH, POSE_LOW, sample_pose

COUNT = 8
CAMERA = np.array([600.0, 320.0, 600.0, 240.0], np.float32)
SIGMA = np.full((COUNT, 21), 0.015, np.float32)
OFF = np.linspace(0.046, 0.06, COUNT, dtype=np.float32)


@pytest.fixture(scope="module")
def hand():
    return mano_jax.load_hand()


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(0)
    wrist = Rotation.random(COUNT, random_state=1).as_matrix()
    fingers = sample_pose(rng, COUNT)[:, 1:]
    translation = rng.normal(0, 0.03, (COUNT, 3)) + [0.05, 0.0, 0.5]
    return posed(wrist, fingers, 0 * rng.normal(size=(COUNT, 10)), translation)


@pytest.fixture(scope="module")
def start(truth):
    rng = np.random.default_rng(2)
    turn = Rotation.from_rotvec(rng.normal(0, 0.1, (COUNT, 3))).as_matrix()
    fingers = truth.fingers + rng.normal(0, 0.05, (COUNT, 15, 3))
    fingers[:, :, 2] += rng.normal(0, 0.25, (COUNT, 15))
    shift = rng.normal(0, 0.01, (COUNT, 3))
    return posed(
        turn @ truth.wrist, fingers, rng.normal(0, 0.5, (COUNT, 10)), truth.translation + shift
    )


def posed(*arrays):
    return Posed(*(np.asarray(a, np.float32) for a in arrays))


def joints_of(hand, found):
    """(B,21,3) m: of the whole mesh, turned about the wrist."""
    pose = np.concatenate([np.zeros((len(found.fingers), 1, 3)), found.fingers], 1)
    joints = np.asarray(joints_21(hand, pose, found.betas), np.float64)
    off = joints - joints[:, :1]
    wrist = np.asarray(found.wrist, np.float64)
    return np.einsum("bij,bnj->bni", wrist, off) + joints[:, :1] + found.translation[:, None]


@jax.jit
def joints_21(hand, pose, betas):
    return hand.with_shape(betas).with_pose(pose).joints_21("ho3d")


def seen(joints):
    return joints[..., :2] / joints[..., 2:] * CAMERA[::2] + CAMERA[1::2]


def moved(hand, start, landmarks):
    joints = joints_of(hand, start).astype(np.float32)
    return refine(hand, start, joints, landmarks.astype(np.float32), CAMERA, SIGMA, OFF, "ho3d")


def off_px(hand, found, landmarks):
    return np.linalg.norm(seen(joints_of(hand, found)) - landmarks, axis=-1)


def test_a_hand_goes_where_its_landmarks_are_and_nearer_to_the_truth(hand, truth, start):
    true = joints_of(hand, truth)
    found = moved(hand, start, seen(true))
    before, after = (off_px(hand, x, seen(true)).mean() for x in (start, found))
    assert after < 0.2 * before
    assert np.abs(np.linalg.det(found.wrist) - 1).max() < 1e-4

    def aligned(posed):
        pairs = zip(joints_of(hand, posed), true)
        return np.array([np.linalg.norm(procrustes(a, b) - b, axis=-1).mean() for a, b in pairs])

    assert aligned(found).mean() < 0.75 * aligned(start).mean()


def test_a_hand_that_is_where_it_is_seen_stays(hand, truth):
    found = moved(hand, truth, seen(joints_of(hand, truth)))
    np.testing.assert_allclose(joints_of(hand, found), joints_of(hand, truth), atol=5e-5)


def test_joints_that_lie_beside_the_skeletons_are_those_that_are_seen(hand, truth):
    """The truth, but for a turn by 0.1 rad, its joints all 3 mm beside the skeleton's along its palm."""
    turn = Rotation.from_rotvec([0.0, 0.0, 0.1]).as_matrix()
    off = posed(turn @ truth.wrist, *truth[1:])
    beside = 0.003 * np.array([0.0, 1.0, 0.0])

    def regressed(found):
        return joints_of(hand, found) + np.einsum("bij,j->bi", found.wrist, beside)[:, None]

    landmarks = seen(regressed(truth))
    given = regressed(off).astype(np.float32), landmarks.astype(np.float32)
    found = refine(hand, off, *given, CAMERA, SIGMA, OFF, "ho3d")
    miss = np.linalg.norm(seen(regressed(found)) - landmarks, axis=-1).mean()
    skeletons = np.linalg.norm(seen(joints_of(hand, found)) - landmarks, axis=-1).mean()
    assert miss < 0.3 < skeletons


def test_without_landmarks_it_stays_and_with_some_it_follows_those(hand, truth, start):
    landmarks = seen(joints_of(hand, truth))
    few = landmarks.copy()
    few[:, 3:] = np.nan
    for a, b in zip(moved(hand, start, few), start):
        np.testing.assert_array_equal(a, b)
    some = landmarks.copy()
    some[:, 5::4] = np.nan
    known = np.isfinite(some[0, :, 0])
    found = moved(hand, start, some)
    assert off_px(hand, found, landmarks)[:, known].mean() < 0.2 * (
        off_px(hand, start, landmarks)[:, known].mean()
    )
    assert np.isfinite(joints_of(hand, found)).all()


def test_a_landmark_far_off_draws_little(hand, truth, start):
    landmarks = seen(joints_of(hand, truth))
    wild = landmarks.copy()
    span = np.ptp(landmarks, axis=1).max(-1)
    wild[:, 8, 0] += span
    others = np.arange(21) != 8
    calm, drawn = (off_px(hand, moved(hand, start, x), landmarks) for x in (landmarks, wild))
    assert (drawn[:, others].mean(-1) < calm[:, others].mean(-1) + 0.03 * span).all()


def test_fingers_keep_to_what_they_can(hand, truth, start):
    # landmarks of a middle finger bent back by 60 degrees
    bent = truth._replace(fingers=truth.fingers.copy())
    bent.fingers[:, 3:6, 2] = -1.0
    found = moved(hand, start, seen(joints_of(hand, bent)))
    beyond = np.maximum(found.fingers - POSE_HIGH[1:], POSE_LOW[1:] - found.fingers)
    asked = (POSE_LOW[4:7, 2] + 1.0).max()
    assert beyond.max() < 0.6 * asked


def test_it_is_scipys_answer_to_the_same_question(hand, truth, start):
    """The sum of squares written again, in float64, with joints of the whole mesh and SciPy's solver."""
    landmarks = seen(joints_of(hand, truth)) + np.random.default_rng(3).normal(0, 4, (COUNT, 21, 2))
    found = moved(hand, start, landmarks)
    free = 0.01 + 0.025 * (POSE_HIGH - POSE_LOW)[1:]
    for i in (0, 5):
        one = Posed(*(np.asarray(x[i : i + 1], np.float64) for x in start))
        before = joints_of(hand, one)[0]
        span = np.ptp(landmarks[i], axis=0).max()
        deviation = 0.0035 * (float(OFF[i]) / 0.046) ** 3

        def residuals(x, one=one, before=before, span=span, deviation=deviation, i=i):
            wrist = Rotation.from_rotvec(x[:3]).as_matrix() @ one.wrist[0]
            fingers, betas = one.fingers[0] + x[3:48].reshape(15, 3), one.betas[0] + x[48:58]
            shift = one.translation[0] + x[58:]
            joints = joints_of(hand, Posed(wrist[None], fingers[None], betas[None], shift[None]))[0]
            off = np.linalg.norm(seen(joints) - landmarks[i], axis=-1) / (deviation * span)
            huber = 2.0 * np.sqrt(2 * (np.sqrt(1 + (off / 2.0) ** 2) - 1))
            relative = ((joints - joints[0]) - (before - before[0]))[1:] / 0.015
            out = np.maximum(fingers - POSE_HIGH[1:], 0) + np.maximum(POSE_LOW[1:] - fingers, 0)
            parts = (
                *(huber, relative, x[3:48].reshape(15, 3) / free),
                *(out / 0.05, betas / 0.5, x[48:58], x[:3]),
            )
            return np.concatenate([p.ravel() for p in parts])

        best = scipy.optimize.least_squares(residuals, np.zeros(61), diff_step=1e-4, max_nfev=12)
        turn = Rotation.from_matrix(np.asarray(found.wrist[i], np.float64) @ one.wrist[0].T)
        ours = np.concatenate(
            [
                turn.as_rotvec(),
                np.ravel(found.fingers[i] - one.fingers[0]),
                found.betas[i] - one.betas[0],
                found.translation[i] - one.translation[0],
            ]
        )
        ours, theirs, none = ((residuals(x) ** 2).sum() for x in (ours, best.x, np.zeros(61)))
        assert ours < 1.02 * theirs < 0.5 * none


def test_one_hand_is_moved_as_many_are(hand, truth, start):
    landmarks = seen(joints_of(hand, truth))
    many = moved(hand, start, landmarks)
    alone = refine(
        hand,
        jax.tree.map(lambda x: x[2:3], start),
        joints_of(hand, start)[2:3].astype(np.float32),
        landmarks[2:3].astype(np.float32),
        CAMERA,
        jnp.asarray(SIGMA[2:3]),
        OFF[2:3],
        "ho3d",
    )
    for a, b in zip(alone, many):
        np.testing.assert_allclose(a[0], b[2], atol=2e-3)
