"""Inference on a user's picture: overlay, mesh with colours, all numbers."""

from __future__ import annotations

import pathlib
import zipfile
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from amvur_jax.data.crop import crop_box, crop_image, crop_matrix
from amvur_jax.data.frame import project
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.whole import explained, write_picture, write_whole, writing
from amvur_jax.pictures import draw
from mano_jax.topology import FINGERS

if TYPE_CHECKING:
    from amvur_jax.inference import Predictor


def parse_box(text: str) -> np.ndarray:
    """Four numbers x1,y1,x2,y2 with x1 < x2 and y1 < y2, px of the picture.

    Raises:
      UserError: they are not.
    """
    try:
        box = np.array([float(x) for x in text.split(",")])
    except ValueError:
        box = np.zeros(0)
    if box.shape != (4,) or not np.isfinite(box).all() or (box[:2] >= box[2:]).any():
        raise UserError(
            f"--box={text}: expected x1,y1,x2,y2 in pixels of the picture, x1 < x2 and y1 < y2"
        )
    return box


def crop_of(
    image: np.ndarray, box: np.ndarray | None, size: int, crop_scale: float = 1.0
) -> np.ndarray:
    """The crop's map A (3,3): about the box as the data sets are cropped, or the central square.

    Raises:
      UserError: the middle of the box is outside the picture.
    """
    height, width = image.shape[:2]
    if box is None:
        return crop_matrix(np.array([width / 2, height / 2]), min(width, height), size)
    centre, side, usable = crop_box(box, (width, height))
    if not usable:
        raise UserError(
            f"--box={','.join(f'{x:g}' for x in box)}: its middle is outside the picture, which is "
            f"{width} x {height} px"
        )
    return crop_matrix(centre, crop_scale * side, size)


def flatten(tree: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """{"prior_joints_mu": array, ...} of nested named tuples, Nones left out."""
    if hasattr(tree, "_asdict"):
        items = [flatten(v, f"{prefix}{k}_") for k, v in tree._asdict().items()]
        return {k: v for item in items for k, v in item.items()}
    return {} if tree is None else {prefix[:-1]: np.asarray(tree)}


def obj_text(
    vertices_cam: np.ndarray | jax.Array, faces: np.ndarray | jax.Array, colors: np.ndarray
) -> str:
    """A Wavefront OBJ with a colour at each vertex, y up and z towards the viewer, metres."""
    lines = ["# metres; OpenGL camera axes (x right, y up, z to the viewer); v x y z r g b"]
    for (x, y, z), (r, g, b) in zip(np.asarray(vertices_cam), colors):
        lines.append(f"v {x:.6f} {-y:.6f} {-z:.6f} {r:.4f} {g:.4f} {b:.4f}")
    lines += [f"f {a} {b} {c}" for a, b, c in np.asarray(faces) + 1]
    return "\n".join(lines) + "\n"


def sigma_text(predictor: Predictor, joints_mm: np.ndarray) -> str:
    """How far off each finger may be, in a line: root mean squares over its joints of sigma (21,) in mm."""
    fingers = {
        name: float(np.sqrt(np.mean(joints_mm[4 * i + 1 : 4 * i + 5] ** 2)))
        for i, name in enumerate(FINGERS)
    }
    listed = ", ".join(f"{name} {value:.0f}" for name, value in fingers.items())
    kind = "calibrated" if predictor.temperature else "not calibrated: see evaluate.py --calibrate"
    return f"sigma of a coordinate relative to the wrist, mm ({kind}): {listed}"


def check_same_picture(path: pathlib.Path, picture: np.ndarray) -> None:
    """Raise a UserError where results of another picture of the same name would be lost."""
    try:
        with np.load(path, allow_pickle=False) as before:
            other = str(before["picture"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return  # nothing there, or nothing of ours
    if other != str(picture):
        raise UserError(f"{path}: is of another picture, {other}; give another --output")


def predict(
    predictor: Predictor,
    image_path: str | pathlib.Path,
    output: str | pathlib.Path,
    box: np.ndarray | None = None,
) -> tuple[list[pathlib.Path], str]:
    """Reconstruct the hand in a picture and write what there is to see and to compute with.

    Args:
      predictor: amvur_jax.inference.Predictor.
      image_path: PNG or JPEG; without a box it is taken as a crop about a right hand.
      output: folder; NAME_overlay.png, NAME.obj, NAME.npz go there. The .npz holds all of `Outputs` (such as
        "prior_joints_mu"); of the answer `vertices_cam`, `joints_cam` (m, in the camera of the crop, as in
        the OBJ), `K_crop` and `joints_2d_px` (px of the crop, joints_cam through K_crop); `crop` (3,3) from
        pixels of the picture to those of the crop; and sigmas in mm.
      box: (4,) x1,y1,x2,y2 about the hand, px of the picture, or None.
    Returns:
      The three paths, and a sentence about sigma.
    Raises:
      UserError: the picture is not readable, the box is off it, the folder cannot be written to, or has the
        results of another picture of this name.
    """
    image = read_image(image_path)
    A = crop_of(image, box, predictor.size, predictor.crop_scale)
    crop = crop_image(image, A, predictor.size)
    outputs = jax.device_get(predictor(crop[None]))
    panel = crop_of(image, box, draw.PANEL, predictor.crop_scale)
    sharp = crop_image(image, panel, draw.PANEL)
    pictures = {"input": sharp, **draw.panels(predictor, outputs, crop[None], 0, sharp)}
    view = predictor.view(outputs)
    colors = draw.texture_colors(outputs.texture, 0)
    arrays = {k: v[0] for k, v in flatten(outputs).items()}
    sigma = predictor.sigma(outputs)
    scale = 1000 * np.sqrt(predictor.temperature or 1.0)
    for kind in ("joints", "vertices"):
        variance = np.exp(np.asarray(getattr(sigma, kind)[0], np.float64)).mean(-1)
        arrays[f"{kind}_sigma_mm"] = (scale * np.sqrt(variance)).astype(np.float32)
    arrays |= {
        "faces": np.asarray(predictor.hand.faces),
        "crop": A,
        "K_crop": np.asarray(view.K[0]),
        "vertices_cam": np.asarray(view.vertices[0]),
        "joints_cam": np.asarray(view.joints[0]),
    }
    arrays["joints_2d_px"] = project(arrays["joints_cam"], arrays["K_crop"])
    arrays["picture"] = np.array(str(pathlib.Path(image_path).resolve()))

    output, name = pathlib.Path(output), pathlib.Path(image_path).stem
    paths = [output / f"{name}_overlay.png", output / f"{name}.obj", output / f"{name}.npz"]
    check_same_picture(paths[2], arrays["picture"])
    text = obj_text(view.vertices[0], predictor.hand.faces, colors)
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
        write_picture(paths[0], draw.sheet([pictures]))
        write_whole(paths[1], text.encode())
        with writing(paths[2]) as file:
            np.savez_compressed(file, **arrays)
    return paths, sigma_text(predictor, arrays["joints_sigma_mm"])
