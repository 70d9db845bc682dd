"""Writes a made-up data set in exactly the layout of HO-3D v2 (Hampali et al., CVPR 2020).

The same seed gives the same bytes. Frames are written one by one and the txt lists last, so that
an interrupted run leaves nothing that a reader takes for whole; the same command goes on with it.
"""

import concurrent.futures
import dataclasses
import json
import os
import pickle
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import tqdm

from amvur_jax.data.paint import Painter, lens
from amvur_jax.data.scene import (
    DIFFICULTIES,
    IMAGE_SIZE,
    MAX_FRAMES,
    sample_clutter,
    sample_sequence,
)
from amvur_jax.data.textures import scatter, surface
from amvur_jax.errors import UserError
from mano_jax import load_hand
from mano_jax.rotations import rotation_matrix, rotation_vector
from mano_jax.topology import FINGERTIPS

DEPTH_UNIT = 0.00012498664727900177  # metres of one step of a depth image
SPLITS = ("train", "evaluation")
UNFINISHED, FINISHED = "unfinished.json", "synthetic.json"
# OpenCV camera (y down, z forward) to OpenGL camera (y up, z backward), and back.
_FLIP = np.array([1.0, -1.0, -1.0])
_SHORTEST, _WRITERS = 20, 2


def make_synthetic(output, train, evaluation, seed=0, difficulty="easy"):
    """Writes a tree of synthetic frames of the embedded hand.

    Args:
      output: folder; it must be new, empty, or the unfinished output of the same arguments.
      train, evaluation: number of listed frames of each split, at least 1.
      seed: of everything.
      difficulty: a key of scene.DIFFICULTIES.

    Raises:
      UserError: the arguments make no sense, or the folder is in use or cannot be written.
    """
    settings = {
        "train": train,
        "evaluation": evaluation,
        "seed": seed,
        "difficulty": difficulty,
        "version": 1,
    }
    _check(settings)
    output = Path(output)
    try:
        _claim(output, settings)
        hand = load_hand()
        painter = Painter(hand)
        with tqdm.tqdm(total=train + evaluation, unit="frame", desc="synthetic") as bar:
            for split in SPLITS:
                _write_split(output, split, settings, hand, painter, bar.update)
        for split in SPLITS:
            lines = [f"{n}/{i:04d}\n" for n, count in plan(settings, split) for i in range(count)]
            _write(output / f"{split}.txt", "".join(lines).encode())
        os.replace(output / UNFINISHED, output / FINISHED)
    except OSError as error:
        raise UserError(f"--output={output}: cannot be written: {error}") from error


def plan(settings, split):
    """The sequences of a split, as (name, number of listed frames)."""
    rng = np.random.default_rng([settings["seed"], SPLITS.index(split)])
    left, sequences = settings[split], []
    while left:
        # One frame more than is listed fits into a sequence.
        count = min(left, int(rng.integers(_SHORTEST, MAX_FRAMES)))
        sequences.append((f"S{split[0].upper()}{len(sequences):04d}", count))
        left -= count
    return sequences


def labels(hand, sequence, i, split):
    """What HO-3D's meta file says of a frame: OpenGL camera, metres, HO-3D's joint order.

    Args:
      hand: a mano_jax.HandModel.
      sequence: a scene.Sequence.
      i: the frame.
      split: "train" or "evaluation".

    Returns:
      dict of arrays and strings, joints (21, 3) and vertices (778, 3).
    """
    vertices = sequence.vertices_cam[i] * _FLIP
    joints = np.concatenate([sequence.joints16_cam[i] * _FLIP, vertices[list(FINGERTIPS["ho3d"])]])
    thing = sequence.objects[0]
    object_rotation = np.diag(_FLIP) @ thing.rotation[i]
    object_place = thing.translation[i] * _FLIP
    corners = thing.solid.corners
    meta = {
        "camMat": sequence.K,
        "camIDList": ["0"],
        "objRot": _rotation_vector(object_rotation)[:, None],
        "objTrans": object_place,
        "objCorners3D": corners @ object_rotation.T + object_place,
        "objCorners3DRest": corners,
        "objName": f"synthetic_{thing.solid.kind}",
        "objLabel": 0,
    }
    if split == "train":
        # The hand turns about its rest wrist J0, so the wrist is J0 + trans in every axes.
        rest_wrist = sequence.joints16_cam[i, 0] - sequence.trans[i]
        rotation = np.diag(_FLIP) @ np.asarray(rotation_matrix(jnp.asarray(sequence.pose[i, 0])))
        meta |= {
            "handPose": np.concatenate([_rotation_vector(rotation), sequence.pose[i, 1:].ravel()]),
            "handTrans": joints[0] - rest_wrist,
            "handBeta": sequence.betas,
            "handJoints3D": joints,
        }
    else:
        pixels = (joints * _FLIP / -joints[:, 2:]) @ sequence.K[:2].T
        meta |= {
            "handJoints3D": joints[0],
            "handBoundingBox": np.concatenate([pixels.min(axis=0), pixels.max(axis=0)]),
        }
    return (
        {k: v.astype(np.float32) if isinstance(v, np.ndarray) else v for k, v in meta.items()},
        joints,
        vertices,
    )


def encode_depth(depth):
    """HO-3D's depth image, (H, W, 3) uint8 RGB, of depths (H, W) in metres."""
    steps = np.clip(np.round(depth / DEPTH_UNIT), 0, 65535).astype(np.uint16)
    return np.stack([steps & 255, steps >> 8, np.zeros_like(steps)], axis=-1).astype(np.uint8)


def _check(settings):
    for name in SPLITS:
        if settings[name] < 1:
            raise UserError(f"--{name}={settings[name]}: give the number of frames, at least 1")
    if settings["seed"] < 0:
        raise UserError(f"--seed={settings['seed']}: give a number from 0 on")
    if settings["difficulty"] not in DIFFICULTIES:
        raise UserError(
            f"--difficulty={settings['difficulty']}: choose one of {', '.join(DIFFICULTIES)}"
        )


def _claim(output, settings):
    """Makes the folder ours, or finds that it is; touches nothing that is not."""
    text = json.dumps(settings, indent=1) + "\n"
    if output.exists() and not output.is_dir():
        raise UserError(f"--output={output}: is a file; give a new folder")
    if output.is_dir() and any(output.iterdir()):
        marker = output / UNFINISHED
        if not marker.is_file():
            raise UserError(
                f"--output={output}: is not empty, nothing was written; give a new folder"
            )
        if marker.read_text() != text:
            raise UserError(
                f"--output={output}: holds an unfinished set made with other arguments "
                f"({marker}); repeat those to finish it, or give a new folder"
            )
        return
    output.mkdir(parents=True, exist_ok=True)
    _write(output / UNFINISHED, text.encode())


def _write_split(output, split, settings, hand, painter, progress):
    difficulty = DIFFICULTIES[settings["difficulty"]]
    truth = {name: [] for name in ("xyz", "verts")}
    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
        waiting = []
        for number, (name, count) in enumerate(plan(settings, split)):
            key = [settings["seed"], SPLITS.index(split), number]
            folder = output / split / name
            for part in ("rgb", "depth", "meta"):
                (folder / part).mkdir(parents=True, exist_ok=True)
            # Real sequences hold frames that no list names and that have no labels: so does ours.
            unlisted = number == 0
            rng = np.random.default_rng(key)
            sequence = sample_sequence(rng, hand, count + unlisted, difficulty)
            scene = None
            for i in range(count + unlisted):
                meta, joints, vertices = labels(hand, sequence, i, split)
                if i == count:
                    meta = dict.fromkeys(meta)
                elif split == "evaluation":
                    truth["xyz"].append(_numbers(joints))
                    truth["verts"].append(_numbers(vertices))
                if not (folder / "meta" / f"{i:04d}.pkl").exists():
                    if scene is None:
                        scene = (
                            painter.sequence(sequence),
                            *_background(rng, painter, sequence, difficulty),
                        )
                    shared, background, far = scene
                    image, depth, _ = painter.frame(
                        shared, painter.vertices(sequence, i), sequence.K, background, far
                    )
                    frame_rng = np.random.default_rng([*key, i])
                    waiting.append(
                        pool.submit(
                            _write_frame, folder, i, image, depth, meta, frame_rng, difficulty
                        )
                    )
                    while len(waiting) > 4 * _WRITERS:
                        waiting.pop(0).result()
                if i < count:
                    progress(1)
        for job in waiting:
            job.result()
    if split == "evaluation":
        for name, samples in truth.items():
            _write(output / f"evaluation_{name}.json", f"[{', '.join(samples)}]\n".encode())


def _background(rng, painter, sequence, difficulty):
    """What is behind the hand, and its depth: a wall or a desk, and things on it."""
    picture = surface(rng, IMAGE_SIZE, calm=not difficulty.wide)
    picture = scatter(rng, picture, difficulty.clutter)
    height, width = IMAGE_SIZE
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    distance = rng.uniform(1.1, 1.6)
    depth = distance * (1 + rng.uniform(-0.1, 0.1) * x + rng.uniform(-0.2, 0.2) * y)
    depth = np.round(depth, 3)  # a sensor's own steps, which also keep the file small
    if difficulty.clutter:
        # The hand itself waits behind the camera.
        empty = dataclasses.replace(
            sequence,
            objects=sample_clutter(rng, 0.8 * distance),
            vertices_cam=sequence.vertices_cam[:1] - [0, 0, 9.0],
        )
        picture, depth, _ = painter.frame(
            painter.sequence(empty), painter.vertices(empty, 0), sequence.K, picture, depth
        )
    return picture, depth


def _write_frame(folder, i, image, depth, meta, rng, difficulty):
    picture = lens(rng, image, rng.uniform(0.4, 0.9), difficulty.noise)
    for part, pixels in (("rgb", picture), ("depth", encode_depth(depth))):
        done, data = cv2.imencode(".png", np.ascontiguousarray(pixels[..., ::-1]))
        if not done:
            raise OSError(f"OpenCV could not encode {part}/{i:04d}.png")
        _write(folder / part / f"{i:04d}.png", data.tobytes())
    # The labels come last: a frame that has them is whole.
    _write(folder / "meta" / f"{i:04d}.pkl", pickle.dumps(meta, protocol=2))


def _write(path, data):
    """Writes a file in one step: it is there whole or not at all."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    os.replace(partial, path)


def _numbers(points):
    return json.dumps(np.round(points, 7).tolist())


def _rotation_vector(rotation):
    return np.asarray(rotation_vector(jnp.asarray(rotation, jnp.float32)))
