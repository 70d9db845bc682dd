"""The COCO-like annotations/HO3D_{train,evaluation}_data.json that some programs want of HO-3D.

    images: id, file_name "SEQ/rgb/0000.png", width, height
    annotations: id, image_id, cam_param {focal, princpt} px, and
      train: joints_coord_cam (21, 3), mano_param {pose (48,), shape (10,)}
      evaluation: root_joint_cam (3,), bbox [x, y, width, height] px

Metres, OpenCV axes, the model's joint order, poses into the camera frame from the flat hand. Entries
are joined by file name: the order of the lists says nothing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

from amvur_jax.data.frame import project
from amvur_jax.data.readers.kinematics import LARGEST_LABEL, is_camera
from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_whole
from mano_jax.errors import MALFORMED

if TYPE_CHECKING:
    from amvur_jax.data.readers.ho3d import HO3D

_FILE_NAME = re.compile(r"([A-Za-z0-9_-]+)/rgb/([A-Za-z0-9_-]+)\.(?:png|jpg)")


def annotation_path(root: Path, split: str) -> Path:
    """Where the file of a split lies in a tree (pathlib.Path)."""
    return root / "annotations" / f"HO3D_{split}_data.json"


def write_annotations(dataset: HO3D, path: Path) -> None:
    """Write the file of one split.

    Args:
      dataset: an HO3D.
      path: the file (pathlib.Path).

    Raises:
      UserError: a frame is damaged, or the file cannot be written.
    """
    images, annotations = [], []
    for i in tqdm(range(len(dataset)), unit="frame", desc=path.name, dynamic_ncols=True):
        frame: Any = dataset.frame(i)  # no Frame: none of the labels that are written is None
        sequence, number = frame.name.split("/")
        file_name = f"{sequence}/rgb/{number}{dataset.image_path(i).suffix}"
        width, height = frame.size
        images.append({"id": i, "file_name": file_name, "width": width, "height": height})
        camera = {"focal": [frame.K[0, 0], frame.K[1, 1]], "princpt": list(frame.K[:2, 2])}
        entry = {"id": i, "image_id": i, "cam_param": camera}
        if dataset.split == "train":
            mano = {"pose": frame.pose.tolist(), "shape": frame.betas.tolist()}
            entry |= {"joints_coord_cam": frame.joints_cam.tolist(), "mano_param": mano}
        else:
            x1, y1, x2, y2 = frame.box.tolist()
            box = [x1, y1, x2 - x1, y2 - y1]
            entry |= {"root_joint_cam": frame.wrist_cam.tolist(), "bbox": box}
        annotations.append(entry)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps({"images": images, "annotations": annotations}).encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None


class Annotations:
    """The labels of one file, by the frame's name "SEQ/0000".

    Args:
      path: the file.

    Raises:
      UserError: the file is malformed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            entries = {entry["image_id"]: entry for entry in content["annotations"]}
            self._entries = {_name(i["file_name"]): entries.get(i["id"]) for i in content["images"]}
        except (OSError, *MALFORMED) as error:
            raise UserError(f"{path}: is no COCO-like annotation of HO-3D ({error})") from error
        self.names = [name for name, entry in self._entries.items() if entry is not None]

    def labels(self, name: str) -> dict[str, np.ndarray]:
        """The labels of one frame as a Frame has them: K, box, wrist_cam and, in training, more.

        Raises:
          UserError: the frame has no entry, or one that is malformed.
        """
        entry = self._entries.get(name)
        if entry is None:
            raise UserError(
                f"{self._path}: has no entry for {name}; write it again from the whole data set"
            )
        camera = self._fields(entry, "cam_param", name)
        fx, fy = self._array(camera, "focal", (2,), name)
        cx, cy = self._array(camera, "princpt", (2,), name)
        K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        if not is_camera(K):
            raise UserError(f"{self._path}: {name}: cam_param is no camera")
        if "joints_coord_cam" not in entry:
            x, y, width, height = self._array(entry, "bbox", (4,), name)
            wrist = self._array(entry, "root_joint_cam", (3,), name)
            return {"K": K, "box": np.array([x, y, x + width, y + height]), "wrist_cam": wrist}
        joints = self._array(entry, "joints_coord_cam", (21, 3), name)
        mano = self._fields(entry, "mano_param", name)
        points = project(joints, K)
        return {
            "K": K,
            "box": np.concatenate([points.min(axis=0), points.max(axis=0)]),
            "wrist_cam": joints[0],
            "joints_cam": joints,
            "pose": self._array(mano, "pose", (48,), name),
            "betas": self._array(mano, "shape", (10,), name),
        }

    def _fields(self, entry: dict[str, Any], field: str, name: str) -> dict[str, Any]:
        if not isinstance(entry.get(field), dict):
            raise UserError(f"{self._path}: {name}: has no {field}")
        return entry[field]

    def _array(
        self, entry: dict[str, Any], field: str, shape: tuple[int, ...], name: str
    ) -> np.ndarray:
        try:
            value = np.asarray(entry.get(field), np.float64)
        except MALFORMED:
            value = np.zeros(0)
        if value.shape != shape or not (np.abs(value) < LARGEST_LABEL).all():
            raise UserError(f"{self._path}: {name}: {field} is no {shape} list of numbers")
        return value


def compare(annotations: Annotations, dataset: HO3D) -> dict[str, float]:
    """How far the labels of a file are from those of the tree.

    Args:
      annotations: an Annotations.
      dataset: the HO3D of the same split.

    Returns:
      dict: frames in `both`, only in the file, only in the tree; the largest difference of a joint
      or wrist, mm, and of a projection or box, px.
    """
    known = set(annotations.names)
    both = [i for i, name in enumerate(dataset.names) if name in known]
    error_mm = error_px = 0.0
    for i in tqdm(both, unit="frame", desc="compare", dynamic_ncols=True):
        frame, labels = dataset.frame(i), annotations.labels(dataset.names[i])
        field = "wrist_cam" if frame.joints_cam is None else "joints_cam"
        apart = np.linalg.norm(np.atleast_2d(getattr(frame, field) - labels[field]), axis=1)
        error_mm = max(error_mm, 1e3 * apart.max())
        error_px = max(error_px, np.abs(frame.box - labels["box"]).max())
    return {
        "both": len(both),
        "only_file": len(known - set(dataset.names)),
        "only_tree": len(dataset) - len(both),
        "largest_mm": float(error_mm),
        "largest_px": float(error_px),
    }


def _name(file_name: str) -> str:
    match = _FILE_NAME.fullmatch(file_name)
    if not match:
        raise ValueError(f"file_name {file_name[:80]!r} is no SEQ/rgb/0000.png")
    return f"{match[1]}/{match[2]}"
