"""Tiny dataset folders, written as their authors' files are, for the tests that read them."""

import json
import pickle

import cv2
import numpy as np

CAMERA = np.array([[615.0, 0.0, 312.0], [0.0, 617.0, 241.0], [0.0, 0.0, 1.0]])


def joints_gl(rng):
    """21 random joints about 0.6 m in front of an OpenGL camera, in HO-3D's order."""
    return rng.normal([0.05, -0.02, -0.6], 0.04, (21, 3))


def picture(rng, width=640, height=480):
    """A smooth random RGB picture."""
    small = rng.integers(0, 255, (height // 40, width // 40, 3), dtype=np.uint8)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def train_meta(rng):
    """The labels of one training frame, all arrays float32 as in the published files."""
    labels = {
        "camMat": CAMERA,
        "handPose": rng.normal(0, 0.5, 48),
        "handTrans": rng.normal([0, 0, -0.6], 0.05),
        "handBeta": rng.normal(0, 1, 10),
        "handJoints3D": joints_gl(rng),
    }
    labels = {name: value.astype(np.float32) for name, value in labels.items()}
    return labels | {"objName": "010_potted_meat_can", "objLabel": 7}


def evaluation_meta(rng):
    """The labels of one evaluation frame: the wrist and a box."""
    return {
        "camMat": CAMERA,
        "handJoints3D": joints_gl(rng)[0],
        "handBoundingBox": [250, 180, 420.5, 330],
    }


def write_ho3d(root, train=3, evaluation=2, suffix=".png", ground_truth=True, seed=0):
    """Write a folder in HO-3D's format.

    Args:
      root: the folder (pathlib.Path).
      train: number of training frames; one more lies there unlisted, without labels.
      evaluation: number of evaluation frames.
      suffix: ".png" (v2) or ".jpg" (v3).
      ground_truth: True = also evaluation_xyz.json and evaluation_verts.json.
      seed: of everything.

    Returns:
      {"SEQ/0000": (picture, labels)} of every listed frame.
    """
    rng = np.random.default_rng(seed)
    written = {}
    for split, count, labels in (
        ("train", train, train_meta),
        ("evaluation", evaluation, evaluation_meta),
    ):
        names = [f"{split[:2].upper()}{i % 2}/{i:04d}" for i in range(count)]
        for name in [*names, f"{split[:2].upper()}0/9999"]:
            listed = name in names
            image, meta = picture(rng), labels(rng)
            write_frame(root / split, name, image, meta if listed else dict.fromkeys(meta), suffix)
            if listed:
                written[name] = image, meta
        (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    if ground_truth:
        joints = [joints_gl(rng).tolist() for _ in range(evaluation)]
        vertices = rng.normal(0, 0.05, (evaluation, 778, 3)).tolist()
        (root / "evaluation_xyz.json").write_text(json.dumps(joints))
        (root / "evaluation_verts.json").write_text(json.dumps(vertices))
    return written


def write_frame(folder, name, image, meta, suffix=".png"):
    """Write one frame's picture and labels below the folder of its split."""
    sequence, number = name.split("/")
    for part in ("rgb", "meta"):
        (folder / sequence / part).mkdir(parents=True, exist_ok=True)
    path = folder / sequence / "rgb" / (number + suffix)
    assert cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    with open(folder / sequence / "meta" / f"{number}.pkl", "wb") as file:
        pickle.dump(meta, file, protocol=2)
