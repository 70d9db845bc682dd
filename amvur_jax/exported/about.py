"""What goes in and comes out of an exported network, and how a crop is cut, in words that need no code."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jax

from amvur_jax import inference
from amvur_jax.data import crop
from amvur_jax.detect import detector, tips

FORMAT = 1
_CAMERA = "the crop's camera: OpenCV axes (x right, y down, z away), the camera at the origin"
_CROP = "the crop: x right, y down, (0, 0) the corner, the first pixel's centre at (0.5, 0.5)"
_MODEL = "the hand model's"
_JOINTS = "wrist, then thumb, index, middle, ring, pinky, each from palm to tip, of a right hand"

_INPUTS: dict[str, dict[str, Any]] = {
    "images": {
        "unit": "0 to 255, RGB",
        "frame": _CROP,
        "about": "crops of right hands, not mirrored; left ones mirrored: see crop",
    },
    "joints": {
        "unit": "px of the crop",
        "frame": _CROP,
        "default": None,
        "about": f"what a detector saw, NaN where there is none: {_JOINTS}",
    },
    "depth": {
        "unit": "px of the crop",
        "frame": "behind the wrist, away from the camera is positive",
        "default": None,
        "about": "of the joints, NaN where it is not known",
    },
    "off": {
        "unit": "of the hand's longer side",
        "frame": "none",
        "default": inference.OFF,
        "about": "how far the joints may be off; MediaPipe's of a score s are by "
        "{:g} + {:g} (1 - s)^{:g}".format(*detector.EXPECTED_ERROR),
    },
}
_OUTPUTS: dict[str, dict[str, str]] = {
    "vertices": {
        "unit": "m",
        "frame": _CAMERA,
        "about": "mesh whose triangles are `faces` of weights.safetensors, counter-clockwise from outside",
    },
    "joints": {"unit": "m", "frame": _CAMERA, "about": _JOINTS},
    "K": {
        "unit": "px of the crop",
        "frame": _CROP,
        "about": "the crop's camera: a point X of it is seen at (K X)_xy / (K X)_z",
    },
    "vertices_sigma_mm": {
        "unit": "mm",
        "frame": "any axis, relative to the wrist",
        "about": "standard deviation of a coordinate",
    },
    "joints_sigma_mm": {
        "unit": "mm",
        "frame": "any axis, relative to the wrist",
        "about": "standard deviation of a coordinate",
    },
    "finger_pose": {
        "unit": "rad",
        "frame": _MODEL,
        "about": "axis-angles of the finger joints in MANO's order, relative to the flat hand",
    },
    "betas": {"unit": "1", "frame": _MODEL, "about": "shape"},
    "wrist_matrix": {
        "unit": "1",
        "frame": "from the hand model's axes to the crop's camera",
        "about": "rotation about the wrist joint w: vertices = wrist_matrix (posed - w) + w + translation",
    },
    "translation": {"unit": "m", "frame": _CAMERA, "about": "added after the turn about the wrist"},
}


def described(shapes: Mapping[str, jax.ShapeDtypeStruct], inputs: bool) -> list[dict[str, Any]]:
    """Name, shape with "batch" in front, dtype, unit, frame, meaning of each input or output."""
    texts: Mapping[str, Mapping[str, Any]] = _INPUTS if inputs else _OUTPUTS
    return [
        {
            "name": name,
            "shape": ["batch", *map(int, shape.shape[1:])],
            "dtype": str(shape.dtype),
            **texts[name],
        }
        for name, shape in shapes.items()
    ]


def cutting(predictor: inference.Predictor) -> dict[str, Any]:
    """How `hands/reconstruct.py` cuts a crop of a photograph: its numbers, and the arithmetic in words."""
    size, scale = predictor.size, predictor.crop_scale
    low, high = crop.SIDE_RANGE
    words = [
        "A left hand: the picture is mirrored first, its box and joints with it (x becomes width - x), and "
        "of the answer x is negated, and y and z of axis-angles.",
        "Lengths in px grow with the picture: u = max(max(width, height) / 640, min(width, height) / 480).",
        f"The box x1, y1, x2, y2 about the hand is clipped to the picture, then {crop.PADDING:g} u wider on "
        "each of its four sides; its middle must be in the picture.",
        f"The crop is a square about the middle (cx, cy) of that box; with b the box's longer side now, the "
        f"square's is L = {scale:g} * {crop.SHOWN:.6f} * min(max(2 b, {low:g} u), {high:g} u).",
        f"x of the crop is (x - cx) * {size} / L + {size / 2:g}, y likewise; so joints are brought into it, "
        f"depths by * {size} / L. The centre of a picture's first pixel is at (0.5, 0.5).",
        f"Where L > {size} the picture is smoothed first, by a Gaussian whose standard deviation is "
        f"0.5 sqrt((L / {size})^2 - 1) px. Then each pixel of the crop is taken bilinearly at its centre, "
        "black outside of the picture.",
        "MediaPipe's fingertips lie before the ends of the fingers: from the joint before, a tip is moved to "
        f"1 / {tips.SHARE:g} of its distance, depths too.",
    ]
    return {
        "size_px": size,
        "scale": scale,
        "padding_u": crop.PADDING,
        "side_range_u": [low, high],
        "shown": crop.SHOWN,
        "words": words,
    }


def about(
    predictor: inference.Predictor,
    inputs: Mapping[str, jax.ShapeDtypeStruct],
    outputs: Mapping[str, jax.ShapeDtypeStruct],
    weights_licence: str,
) -> dict[str, Any]:
    """All of about.json but the list of files."""
    return {
        "format": FORMAT,
        "made_by": {"amvur_jax": importlib.metadata.version("amvur-jax"), "jax": jax.__version__},
        "keypoints": {
            "map": "the network takes no joints",
            "given": "joints must be given: without any the answer means nothing",
            "either": "of a sample without any joint the network reads its own off the picture",
        }[predictor.network.config.keypoints],
        "inputs": described(inputs, inputs=True),
        "outputs": described(outputs, inputs=False),
        "place": "up to focal length and the hand's true size; the crop is answered as if looked straight at",
        "sigma": {
            "temperature": predictor.temperature,
            "temperature_of_given_joints": predictor.temperature_given,
            "about": "fitted to errors on labelled frames, and multiplied in; null: not fitted",
        },
        "crop": cutting(predictor),
        "licence": {
            "program": "Apache-2.0, the file LICENSE",
            "weights": weights_licence,
            "hand_model": hand_licence(predictor),
        },
        "network": predictor.config["model"],
    }


def hand_licence(predictor: inference.Predictor) -> str:
    """Of the hand model, which is a part of the exported weights."""
    if not predictor.config["hand"]:
        return "Apache-2.0, derived from MakeHuman's base mesh (CC0)"
    return (
        f"{predictor.hand.name}: its own licence, which holds for weights.safetensors (MANO's does not let "
        "it be passed on: https://mano.is.tue.mpg.de/license.html)"
    )
