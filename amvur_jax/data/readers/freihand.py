"""FreiHAND (Zimmermann et al., ICCV 2019) as its authors publish it on disk.

Its files are in OpenCV axes, metres and the model's joint order already; its fingertips are its own.
A training picture comes in four variants, all with the labels of the first: picture i + k N shows
hand i on the background of variant k.
"""

import functools
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from amvur_jax.data.crop import whole_image_box
from amvur_jax.data.frame import Frame
from amvur_jax.data.readers.ground_truth import Holder
from amvur_jax.data.readers.kinematics import LARGEST_LABEL, KinematicChain, is_camera
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image, read_mask
from amvur_jax.files.json_arrays import JsonArrays
from amvur_jax.files.places import place
from mano_jax import HandModel, load_hand

VARIANTS = ("gs", "hom", "sample", "auto")  # green screen, then three ways of new backgrounds
FOLDERS = {"train": "training", "evaluation": "evaluation"}
_REMEDY = (
    "give the folder of FreiHAND_pub_v2 as downloaded, or make a synthetic one in its format: "
    "python scripts/make_synthetic.py --layout=freihand --output=DIR"
)


class FreiHAND(Holder):
    """The frames of one split, read on demand.

    The pictures are squares about the hand already: the crop is the whole picture, in training too.

    Args:
      root: the folder FreiHAND_pub_v2.
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel of the labels, for its mean pose; None = the embedded one.
      masks: frames of the training split are to have `visible`, the data set's masks.

    Raises:
      UserError: a file or folder of the dataset is missing or malformed.
    """

    layout = "freihand"
    reach, left_out, endless = None, 0, False
    moments = None

    @staticmethod
    def mark(root: Path, split: str) -> Path:
        """The file that tells this layout, where the folder has the split."""
        return root / f"{FOLDERS[split]}_K.json"

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        hand: HandModel | None = None,
        masks: bool = False,
    ) -> None:
        self.root, self.split = place(root), split
        self._images = self.root / FOLDERS[split] / "rgb"
        # The ignores: what is needed is never None.
        self._K: np.ndarray = self._file("K", (3, 3), needed=True)  # type: ignore[assignment]
        self._xyz = self._file("xyz", (21, 3), needed=split == "train")
        self._mano: np.ndarray | None = None
        variants = 1
        if split == "train":
            self._mano = self._file("mano", (1, 61), needed=True)[:, 0]  # type: ignore[index]
            hand = load_hand() if hand is None else hand
            self._chain = KinematicChain(hand)
            self._mean_pose = np.asarray(hand.mean_pose, np.float64)
            # Version 1 and cut-down copies have fewer.
            while variants < len(VARIANTS) and self.image_path(variants * len(self._K)).is_file():
                variants += 1
        folder = self.root / FOLDERS[split] / "mask"
        self._masks = folder if masks and split == "train" else None
        if self._masks and not folder.is_dir():
            logging.warning(
                "%s: not found, so nothing is known of what hides the hands; copy the masks, else "
                "config.loss.occlusion='labels' is 'robust' for this data set",
                folder,
            )
            self._masks = None
        self.names = [f"{FOLDERS[split]}/{i:08d}" for i in range(variants * len(self._K))]

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, i: int) -> Frame:
        """Read one frame.

        Args:
          i: position in `names`.

        Returns:
          A Frame; in the evaluation split its labels are None but for wrist_cam, where known.

        Raises:
          UserError: the image is missing or damaged, or a label is not finite.
        """
        label = i % len(self._K)
        K = self._K[label]
        if not is_camera(K):
            raise UserError(f"{self._path('K')}: entry {label} is no camera matrix; {_REMEDY}")
        for kind, values in (("xyz", self._xyz), ("mano", self._mano)):
            if values is not None and not (np.abs(values[label]) < LARGEST_LABEL).all():
                raise UserError(
                    f"{self._path(kind)}: entry {label} holds NaN or a number beyond any sense; "
                    "download it again"
                )
        image = read_image(self.image_path(i))
        joints = None if self._xyz is None else self._xyz[label]
        labels: dict[str, Any] = {"wrist_cam": None if joints is None else joints[0]}
        if self.split == "train":
            assert self._mano is not None and joints is not None  # __init__ saw to it
            pose, betas = self._mano[label, :48], self._mano[label, 48:58]
            labels |= {
                "joints_cam": joints,
                # Theirs is relative to MANO's mean pose, ours to the flat hand.
                "pose": np.concatenate([pose[:3], pose[3:] + self._mean_pose]),
                "betas": betas,
                "root_cam": joints[0],
                "trans": joints[0] - self._chain.rest(betas)[0],
            }
        if self._masks:  # one for the variants of a hand
            labels["visible"] = read_mask(self._masks / f"{label:08d}.jpg", image.shape)
        return Frame(
            name=self.names[i],
            index=i,
            image=image,
            K=K,
            box=whole_image_box(image.shape[1::-1]),
            **labels,
        )

    @functools.cached_property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The evaluation split's joints and vertices, or None where the files are absent.

        Returns:
          (joints_cam (N, 21, 3), vertices_cam (N, 778, 3)) float64, metres; or None.

        Raises:
          UserError: a file is malformed or has not one entry per frame.
        """
        if self.split != "evaluation" or self._xyz is None:
            return None
        vertices = self._file("verts", (778, 3), needed=False)
        return None if vertices is None else (self._xyz, vertices)

    def image_path(self, i: int) -> Path:
        """The file of one picture."""
        return self._images / f"{i:08d}.jpg"

    def _path(self, kind: str) -> Path:
        return self.root / f"{FOLDERS[self.split]}_{kind}.json"

    def _file(self, kind: str, shape: tuple[int, ...], needed: bool) -> np.ndarray | None:
        path = self._path(kind)
        if not path.is_file():
            if needed:
                raise UserError(
                    f"{path}: not found, so {self.root} is no complete FreiHAND; {_REMEDY}"
                )
            return None
        with path.open("rb") as file:
            reader = JsonArrays(file, path)
            # One frame's NaN is that frame's fault; the ground truth must be whole.
            samples = reader.samples(shape, finite=self.split == "evaluation")
            reader.end()
        if not len(samples):
            raise UserError(f"{path}: holds no entries; {_REMEDY}")
        if kind != "K" and len(samples) != len(self._K):
            raise UserError(
                f"{path}: has {len(samples)} entries but {self._path('K').name} {len(self._K)}; "
                "take both from the same release"
            )
        return samples
