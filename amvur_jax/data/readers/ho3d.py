"""HO-3D v2 and v3 (Hampali et al., CVPR 2020 and 2022) as their authors publish them on disk.

Everything is converted here, once: OpenGL to OpenCV axes, HO-3D's joint order to the model's.
Only frames that the txt lists name are read: the others may lack their labels.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from amvur_jax.data.frame import GL_TO_CV, Frame, project
from amvur_jax.data.readers import ground_truth
from amvur_jax.data.readers.depth import decode_depth, not_covered
from amvur_jax.data.readers.ho3d_coco import Annotations, annotation_path
from amvur_jax.data.readers.kinematics import (
    LARGEST_LABEL,
    KinematicChain,
    Skin,
    is_camera,
    turned,
)
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.places import place
from mano_jax import FileFormatError, HandModel, load_hand
from mano_jax.errors import MALFORMED
from mano_jax.pickle_reader import read_pickle
from mano_jax.topology import HO3D_TO_MODEL

_SPLITS = ("train", "evaluation")
_IMAGE_SUFFIXES = (".png", ".jpg")
_NAME = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
# Half a turn about x, the quaternion of F = diag(1, -1, -1).
_HALF_TURN = (0.0, 1.0, 0.0, 0.0)
_REMEDY = (
    "give the folder of HO3D_v2 or HO3D_v3 as downloaded, or make a synthetic one in its format: "
    "python scripts/make_synthetic.py --output=DIR"
)


class HO3D(ground_truth.Holder):
    """The frames of one split, read on demand; `layout` is ho3d_v2 or ho3d_v3, by its pictures.

    Args:
      root: the folder HO3D_v2 or HO3D_v3.
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel whose rest wrist `trans` is relative to; None = the embedded one.
      masks: frames of the training split are to have `visible`, by their depth pictures and labels.

    Raises:
      UserError: a file or folder of the dataset is missing or malformed.
    """

    reach, left_out, endless = None, 0, False

    @staticmethod
    def mark(root: Path, split: str) -> Path:
        """The file that tells this layout, where the folder has the split."""
        return root / f"{split}.txt"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        hand: HandModel | None = None,
        masks: bool = False,
    ) -> None:
        if split not in _SPLITS:
            raise UserError(f"split={split!r}: HO-3D has the splits train and evaluation")
        self.root = place(root)
        self.split = split
        self.names = _read_names(self.root, split)
        self.layout = _layout(self.root / split, self.names[0])
        self._annotations = self._only_annotations()
        self._skin: Skin | None = None
        if split == "train":
            hand = load_hand() if hand is None else hand
            self._chain = KinematicChain(hand)
            if masks and self._has_depth():
                self._skin, self._faces = Skin(hand), np.asarray(hand.faces)

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, i: int) -> Frame:
        """Read one frame.

        Args:
          i: position in the split's list.

        Returns:
          A Frame; in the evaluation split its labels are None but for wrist_cam.

        Raises:
          UserError: the image or the labels are missing, damaged or malformed.
        """
        name = self.names[i]
        labels: dict[str, Any]
        if self._annotations:
            labels = self._annotations.labels(name)
            if self.split == "train":
                root_cam = labels["wrist_cam"]
                trans = root_cam - self._chain.rest(labels["betas"])[0]
                labels |= {"root_cam": root_cam, "trans": trans}
        else:
            meta = _Meta(self._meta_path(name))
            read = self._train_labels if self.split == "train" else _evaluation_labels
            labels = {"K": meta.intrinsics(), **read(meta)}
        image = read_image(self.image_path(i))
        if self._skin:
            labels["visible"] = self._visible(i, image.shape, labels)
        return Frame(name=name, index=i, image=image, **labels)

    @functools.cached_property
    def moments(self) -> list[tuple[str, int]] | None:
        """(sequence, number) of each frame, by its name."""
        return moments_of(self.names)

    def image_path(self, i: int) -> Path:
        """The file of one picture.

        Raises:
          UserError: it is missing.
        """
        sequence, number = self.names[i].split("/")
        return _image_path(self.root / self.split / sequence / "rgb", number)

    @functools.cached_property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The evaluation split's joints and vertices, or None where the files are absent.

        Returns:
          (joints_cam (N, 21, 3), vertices_cam (N, 778, 3)) float64 in the order of `names`,
          metres, OpenCV camera frame, joints in the model's order; or None.

        Raises:
          UserError: a file is malformed or has not one entry per frame.
        """
        if self.split != "evaluation" or not ground_truth.has_ground_truth(self.root):
            return None
        joints = ground_truth.joints(self.root)
        vertices = list(ground_truth.vertices(self.root))
        for name, values in (
            (ground_truth.JOINTS_FILE, joints),
            (ground_truth.VERTICES_FILE, vertices),
        ):
            if len(values) != len(self):
                raise UserError(
                    f"{self.root / name}: has {len(values)} entries but evaluation.txt lists "
                    f"{len(self)} frames; take both from the same release"
                )
        return joints[:, HO3D_TO_MODEL] * GL_TO_CV, np.stack(vertices) * GL_TO_CV

    def _visible(self, i: int, shape: tuple[int, ...], labels: dict[str, Any]) -> np.ndarray:
        path = self._depth_path(i)
        depth = decode_depth(read_image(path))
        if depth.shape != shape[:2]:
            raise UserError(
                f"{path}: has {depth.shape[1]} x {depth.shape[0]} pixels, its picture "
                f"{shape[1]} x {shape[0]}; copy the depth pictures of this release"
            )
        assert self._skin  # else nobody asks
        vertices = self._skin.vertices(labels["pose"], labels["betas"]) + labels["trans"]
        return not_covered(depth, vertices, self._faces, labels["K"])

    def _has_depth(self) -> bool:
        folder = self._depth_path(0).parent
        if not folder.is_dir():
            logging.warning(
                "%s: not found, so nothing is known of what hides the hands; copy the depth pictures, else "
                "config.loss.occlusion='labels' is 'robust' for this data set",
                folder,
            )
        return folder.is_dir()

    def _depth_path(self, i: int) -> Path:
        sequence, number = self.names[i].split("/")
        return self.root / self.split / sequence / "depth" / f"{number}.png"

    def _meta_path(self, name: str) -> Path:
        sequence, number = name.split("/")
        return self.root / self.split / sequence / "meta" / f"{number}.pkl"

    def _only_annotations(self) -> Annotations | None:
        """The annotation file, where the tree has it in the place of its meta files."""
        path = annotation_path(self.root, self.split)
        if self._meta_path(self.names[0]).is_file() or not path.is_file():
            return None
        return Annotations(path)

    def _train_labels(self, meta: _Meta) -> dict[str, np.ndarray]:
        joints_cam = meta.array("handJoints3D", (21, 3))[HO3D_TO_MODEL] * GL_TO_CV
        pose = meta.array("handPose", (48,))
        betas = meta.array("handBeta", (10,))
        wrist_rest = self._chain.rest(betas)[0]
        # MANO turns about its rest wrist J0, so F (M(x) + t) = M'(x) + F (J0 + t) - J0.
        root_cam = (wrist_rest + meta.array("handTrans", (3,))) * GL_TO_CV
        joints_px = project(joints_cam, meta.intrinsics())
        return {
            "box": np.concatenate([joints_px.min(axis=0), joints_px.max(axis=0)]),
            "wrist_cam": joints_cam[0],
            "joints_cam": joints_cam,
            "pose": np.concatenate([turned(_HALF_TURN, pose[:3]), pose[3:]]),
            "betas": betas,
            "trans": root_cam - wrist_rest,
            "root_cam": root_cam,
        }


def moments_of(names: Sequence[str]) -> list[tuple[str, int]] | None:
    """(sequence, number) of names such as ABF10/0000; None where one is no number."""
    parts = [name.split("/") for name in names]
    if not all(number.isdecimal() for _, number in parts):
        return None
    return [(sequence, int(number)) for sequence, number in parts]


class _Meta:
    """One meta pickle, whose fields are checked as they are taken."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._fields = read_pickle(path, kind="ho3d_meta")
        except FileFormatError as error:
            raise UserError(f"{error}; download it again") from error
        if not isinstance(self._fields, dict):
            raise UserError(f"{path}: holds no dictionary of labels; download it again")

    def array(self, field: str, shape: tuple[int, ...]) -> np.ndarray:
        value = self._fields.get(field)
        if value is None:
            raise UserError(
                f"{self._path}: {field} is missing or None though the txt list names this frame; "
                "use the list that came with this release"
            )
        try:
            value = np.asarray(value, dtype=np.float64)
        except MALFORMED as error:
            raise UserError(f"{self._path}: {field} holds no numbers; download it again") from error
        if value.shape != shape:
            raise UserError(
                f"{self._path}: {field} has shape {value.shape}, expected {shape}; "
                "download it again"
            )
        if not (np.abs(value) < LARGEST_LABEL).all():
            raise UserError(
                f"{self._path}: {field} holds NaN or a number beyond any sense; download it again"
            )
        return value

    def intrinsics(self) -> np.ndarray:
        # Taken as it is: the half pixel between conventions is below the labels' own error.
        K = self.array("camMat", (3, 3))
        if not is_camera(K):
            raise UserError(f"{self._path}: camMat is no camera matrix; download it again")
        return K


def _evaluation_labels(meta: _Meta) -> dict[str, np.ndarray]:
    wrist = meta.array("handJoints3D", (3,)) * GL_TO_CV
    return {"box": meta.array("handBoundingBox", (4,)), "wrist_cam": wrist}


def _read_names(root: Path, split: str) -> list[str]:
    path = root / f"{split}.txt"
    for needed in (root, path, root / split):
        if not needed.exists():
            raise UserError(f"{needed}: not found, so {root} is no complete HO-3D; {_REMEDY}")
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no readable text file; {_REMEDY}") from error
    names = [name for name in names if name]
    if not names:
        raise UserError(f"{path}: lists no frames; {_REMEDY}")
    for name in names:
        # Also what keeps every path that is built from the list inside the dataset.
        if not _NAME.fullmatch(name):
            raise UserError(
                f"{path}: {name[:80]!r} is no SEQUENCE/FRAME such as ABF10/0000; {_REMEDY}"
            )
    return names


def _layout(folder: Path, name: str) -> str:
    sequence, number = name.split("/")
    jpg = (folder / sequence / "rgb" / f"{number}.jpg").is_file()
    return "ho3d_v3" if jpg else "ho3d_v2"


def _image_path(folder: Path, number: str) -> Path:
    for suffix in _IMAGE_SUFFIXES:
        if (folder / (number + suffix)).is_file():
            return folder / (number + suffix)
    raise UserError(
        f"{folder / number}.png (or .jpg): not found though the txt list names it; "
        "copy the missing part of the dataset"
    )
