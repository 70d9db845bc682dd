"""A still and a moving hand in synthetic videos: jitter and lag of what predict finds, smoothed or not.

The videos are drawn here, 640 x 480 at 30 frames a second with noise, and what they show is known. Jitter is
the distance of a joint from where it was in the frame before, mm, of a hand that does not move. Lag is the
shift in time by which the joints of a moving hand, in the picture, are nearest to the true ones.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np

import mano_jax
from amvur_jax import inference
from amvur_jax.data.frame import project
from amvur_jax.data.synthetic.paint import Painter, lens
from amvur_jax.data.synthetic.scene import (
    DIFFICULTIES,
    IMAGE_SIZE,
    MAX_FRAMES,
    sample_sequence,
)
from amvur_jax.data.synthetic.textures import surface
from amvur_jax.detect.detector import Detector
from amvur_jax.files.video import Frame
from amvur_jax.hands.reconstruct import Reconstructor, Sight
from amvur_jax.hands.track import smoothed, track_hands

RATE = 30
SWING_M, SWING_HZ = 0.1, 0.7  # of the moving hand, from side to side
NOISE, BLUR = 4.0, 0.6  # of the camera: of 255; px
SHIFTS = np.arange(-2.0, 8.01, 0.05)  # frames: the lags that are tried


def run(quick, checkpoint="shipped"):
    """Yield a row for each kind of video, with and without smoothing, and one for the animated GLB."""
    detector, model = Detector(), mano_jax.load_hand()
    reconstructor = Reconstructor(inference.load(checkpoint), detector)
    count, seeds = (15, 1) if quick else (90, 4)
    animated = []
    for case, moves in (("still", False), ("moving", True)):
        found = {"no": [], "yes": []}
        for seed in range(seeds):
            images, joints, K = draw(model, seed, count, moves)
            frames = (Frame(i, i / RATE, image) for i, image in enumerate(images))
            raw, times = track_hands(detector, frames, smooth=False)
            for smooth, sightings in (("no", raw), ("yes", smoothed(raw, times))):
                numbers, hands = _first(reconstructor, images, sightings, K)
                measure = _lag if moves else _jitter
                found[smooth].append(measure(numbers, hands, joints, K))
                if moves and smooth == "yes":
                    animated.append(_animated(reconstructor.predictor.hand, hands))
        for smooth, rows in found.items():
            yield {"case": case, "smooth": smooth, "videos": seeds, "frames": count} | _mean(rows)
    yield {"case": "animated GLB", "videos": seeds, "frames": count} | _mean(animated)


def _mean(rows):
    return {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}


def draw(hand, seed, count, moves):
    """Frames (480, 640, 3) uint8, true joints (count,21,3) m and K (3,3) of a hand, still or moving."""
    rng = np.random.default_rng(seed)
    scene = sample_sequence(rng, hand, MAX_FRAMES, DIFFICULTIES["easy"])
    time = np.arange(count) / RATE * moves
    swing = np.sin(2 * np.pi * SWING_HZ * time)
    bend = (1 - np.cos(2 * np.pi * SWING_HZ * time))[:, None, None] / 2
    pose = scene.pose[0] + bend * (scene.pose[-1] - scene.pose[0])
    pose[:, 0] = scene.pose[0, 0]
    posed = hand.with_shape(jnp.asarray(scene.betas)).with_pose(jnp.asarray(pose, jnp.float32))
    middle = np.array([0.0, 0.0, 0.6]) - np.asarray(posed.joints[0, 4])
    shift = middle + swing[:, None] * [SWING_M, 0.3 * SWING_M, 0]
    joints = np.asarray(posed.joints_21(), np.float64) + shift[:, None]
    away = [  # nothing but the hand: they wait behind the camera
        dataclasses.replace(
            thing,
            rotation=np.repeat(thing.rotation[:1], count, 0),
            translation=np.full((count, 3), -9.0),
        )
        for thing in scene.objects
    ]
    scene = dataclasses.replace(
        scene,
        vertices_cam=np.asarray(posed.vertices, np.float64) + shift[:, None],
        joints16_cam=np.asarray(posed.joints, np.float64) + shift[:, None],
        objects=tuple(away),
    )
    painter = Painter(hand)
    shared = painter.sequence(scene)
    back = surface(rng, IMAGE_SIZE, calm=True)
    images = [
        lens(
            rng,
            painter.frame(
                shared, painter.vertices(scene, i), scene.K, back, np.full(IMAGE_SIZE, 2.0)
            )[0],
            BLUR,
            NOISE,
        )
        for i in range(count)
    ]
    return images, joints, scene.K


def _first(reconstructor, images, sightings, K):
    """The frames that show the first hand, and that hand in each of them."""
    numbers = np.array([i for i, frame in enumerate(sightings) if frame])
    found = [reconstructor.found(sightings[i][0].hand, IMAGE_SIZE[::-1]) for i in numbers]
    sights = [Sight(images[i], one, K, "given") for i, one in zip(numbers, found)]
    return numbers, reconstructor.hands(sights)


def _jitter(numbers, hands, joints, K):
    """How far a joint goes from frame to frame: in space, relative to the wrist, and in the picture."""

    def step(points):
        return float(np.linalg.norm(np.diff(points, axis=0), axis=-1).mean())

    cam = np.stack([hand.joints_cam for hand in hands])
    return {
        "found": len(numbers),
        "jitter_mm": 1000 * step(cam),
        "jitter_from_wrist_mm": 1000 * step(cam - cam[:, :1]),
        "jitter_px": step(np.stack([hand.joints_px for hand in hands])),
    }


def _lag(numbers, hands, joints, K):
    px, truth = np.stack([hand.joints_px for hand in hands]), project(joints, K)
    off = np.linalg.norm(px - truth[numbers], axis=-1)
    return {
        "found": len(numbers),
        "lag_ms": 1000 / RATE * lag(px, truth, numbers),
        "error_px": float(off.mean()),
    }


def _animated(model, hands):
    """How far the vertices of a skinned mesh of mean shape are from the hands' own."""
    betas, translation, own = (
        np.stack([getattr(hand, name) for hand in hands])
        for name in ("betas", "translation", "vertices_cam")
    )
    pose = np.stack([np.vstack([hand.wrist_rotation, hand.finger_pose]) for hand in hands])
    skinned = dataclasses.replace(model, posedirs=jnp.zeros_like(model.posedirs))

    def off_mm(shape):
        shaped = skinned.with_shape(jnp.asarray(shape, jnp.float32))
        wrist = (
            model.with_shape(jnp.asarray(betas, jnp.float32)).joints[:, 0]
            - shaped.joints[..., 0, :]
        )
        posed = shaped.with_pose(jnp.asarray(pose, jnp.float32)).vertices
        there = np.asarray(posed + wrist[:, None]) + translation[:, None]
        return 1000 * np.linalg.norm(there - own, axis=-1)

    off, correctives = off_mm(betas.mean(0)), off_mm(betas)
    return {
        "off_mm": float(off.mean()),
        "largest_mm": float(off.max()),
        "correctives_mm": float(correctives.mean()),
        "largest_corrective_mm": float(correctives.max()),
    }


def lag(found, truth, numbers):
    """The shift, frames, by which truth (T,...) is nearest to what was found (n,...) at frames `numbers`."""
    inner = (numbers >= SHIFTS[-1]) & (numbers <= len(truth) - 1 + SHIFTS[0])
    errors = []
    for shift in SHIFTS:
        at = numbers[inner] - shift
        low = np.minimum(np.floor(at).astype(int), len(truth) - 2)
        share = (at - low).reshape(-1, *[1] * (truth.ndim - 1))
        there = truth[low] * (1 - share) + truth[low + 1] * share
        apart = found[inner] - there
        errors.append(((apart - apart.mean(0)) ** 2).sum())  # a constant error is none of time
    return round(float(SHIFTS[int(np.argmin(errors))]), 2)
