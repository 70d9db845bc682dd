"""The hand detector on photographs with known joints, alone and small in a large picture; depths and scores.

--photos: a folder of amvur_jax.data.readers.photos, one hand in each picture. --data_root: a data set with
ground truth, for depths and score. LiteRT is measured where it is installed (extra `detect`).
"""

import importlib.util
import itertools
import time

import cv2
import numpy as np

from amvur_jax.data.frame import project
from amvur_jax.data.open import open_dataset
from amvur_jax.data.views import Subset
from amvur_jax.detect.detector import Detector, expected_error
from amvur_jax.detect.tips import finger_ends

CANVAS = (2000, 1500)  # px, of six photographs in two rows
LENGTHS = (200, 100, 70, 50, 35)  # px of the hand on it
SCORES = (0.0, 0.5, 0.8, 0.95, 0.99, 1.01)
NEAR = 0.15  # of the box: a hand is found if its joints are no further off in the mean


def run(quick, photos=None, data_root=None):
    """Yield rows: each backend alone, hands by their length, how much too small z is, errors by score."""
    if photos:
        dataset = open_dataset(photos)
        frames = [dataset.frame(i) for i in range(6 if quick else len(dataset))]
        litert = importlib.util.find_spec("ai_edge_litert") is not None
        for backend in ("opencv", "litert") if litert else ("opencv",):
            yield _alone(frames, backend)
        for length in LENGTHS[:1] if quick else LENGTHS:
            yield _small(frames, length)
    if data_root:
        dataset = open_dataset(data_root, "evaluation")
        yield _depths(Subset(dataset, 6 if quick else 150))
        yield from _by_score(Subset(dataset, 6 if quick else 500))


def _by_score(dataset):
    """How far off joints are, of the hand's longer side, the box given, and what `expected_error` says."""
    detector, scores, errors = Detector(), [], []
    for i, joints in enumerate(dataset.ground_truth[0]):
        frame = dataset.frame(i)
        truth = project(joints, frame.K)
        hand = detector.landmarks(frame.image, frame.box, frame.side)
        off = np.linalg.norm(finger_ends(hand.joints_px) - truth, axis=-1).mean()
        scores.append(hand.score)
        errors.append(off / np.ptp(truth, axis=0).max())
    scores, errors = np.array(scores), np.array(errors)
    for low, high in itertools.pairwise(SCORES):
        chosen = (scores >= low) & (scores < high)
        if chosen.any():
            yield {
                "case": "by score",
                "score": [low, min(high, 1.0)],
                "frames": int(chosen.sum()),
                "off": float(errors[chosen].mean()),
                "expected_error": float(expected_error(scores[chosen]).mean()),
            }


def _alone(frames, backend):
    """Each photograph by itself: found, on the right side, and how far off; ms a photograph."""
    detector, errors, sides, checked, times = Detector(backend=backend), [], 0, 0, []
    for frame in frames:
        start = time.perf_counter()
        hands = detector(frame.image)
        times.append(time.perf_counter() - start)
        best = min(hands, key=lambda hand: _error(hand, frame.joints_px).mean(), default=None)
        if best is not None and _error(best, frame.joints_px).mean() < 1:
            errors.append(_error(best, frame.joints_px))
            sides += best.side == frame.side
            checked += bool(detector.checked(frame.image, best))
    errors = np.stack(errors)
    return {
        "case": "alone",
        "backend": backend,
        "photos": len(frames),
        "found": len(errors),
        "right_side": sides,
        "checked": checked,
        "error_of_box": float(errors.mean()),
        "pck_0.1": float((errors < 0.1).mean()),
        "ms": 1000 * float(np.median(times)),
    }


def _small(frames, length):
    """Six at a time on a canvas of noise, their hands `length` px long: found plainly and thoroughly."""
    detector, rng = Detector(), np.random.default_rng(0)
    found = {False: 0, True: 0}
    for start in range(0, len(frames), 6):
        canvas, truth = _canvas(rng, frames[start : start + 6], length)
        for thorough in found:
            hands = detector(canvas, thorough=thorough)
            for joints in truth:
                found[thorough] += any(_error(hand, joints).mean() < NEAR for hand in hands)
    case = {"case": "small", "length_px": length, "photos": len(frames)}
    return case | {"found": found[False], "found_thoroughly": found[True]}


def _canvas(rng, frames, length):
    width, height = CANVAS
    canvas = rng.integers(90, 170, (height, width, 3), np.uint8)
    canvas, truth = cv2.GaussianBlur(canvas, (0, 0), 3), []
    for k, frame in enumerate(frames):
        scale = length / np.ptp(frame.joints_px, axis=0).max()
        photo = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        photo = photo[: height // 2, : width // 3]
        room = np.array([width // 3 - photo.shape[1], height // 2 - photo.shape[0]])
        x, y = [k % 3 * (width // 3), k // 3 * (height // 2)] + rng.integers(0, room + 1)
        canvas[y : y + photo.shape[0], x : x + photo.shape[1]] = photo
        truth.append(frame.joints_px * scale + [x, y])
    return canvas, truth


def _depths(dataset):
    """The factor by which least squares would multiply the depths, and the share of fingers' last bones at
    whose end the detector sees their tips."""
    detector, found, true = Detector(), [], []
    bones, seen = [], []
    truth = dataset.ground_truth[0]
    for i in range(len(dataset)):
        frame, joints = dataset.frame(i), truth[i]
        hand = detector.landmarks(frame.image, frame.box, frame.side)
        if _error(hand, project(joints, frame.K)).mean() < NEAR:
            focal = frame.K[0, 0]
            true.append((joints[:, 2] / joints[0, 2] - 1) * focal)
            found.append(hand.depth)
            places = project(joints, frame.K)
            bones.append(places[4::4] - places[3::4])
            seen.append(hand.joints_px[4::4] - hand.joints_px[3::4])
    found, true, bones, seen = (np.stack(x) for x in (found, true, bones, seen))
    return {
        "case": "depths",
        "frames": len(found),
        "factor": float((found * true).sum() / (found**2).sum()),
        "last_bone": float((seen * bones).sum() / (bones**2).sum()),
    }


def _error(hand, joints):
    """Of each joint, over the longer side of the box of all."""
    return np.linalg.norm(hand.joints_px - joints, axis=1) / np.ptp(joints, axis=0).max()
