"""Synthetic frames in exactly the layout of FreiHAND (Zimmermann et al., ICCV 2019)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from amvur_jax.data.augment import recolor
from amvur_jax.data.crop import crop_image, crop_matrix
from amvur_jax.data.frame import project
from amvur_jax.data.readers.freihand import FOLDERS, VARIANTS
from amvur_jax.data.synthetic.textures import surface
from amvur_jax.files.whole import write_picture, write_whole
from mano_jax.topology import FINGERTIPS, HO3D_TO_MODEL

if TYPE_CHECKING:
    from pathlib import Path

    from amvur_jax.data.synthetic.paint import WriteFrame
    from amvur_jax.data.synthetic.scene import Sequence
    from mano_jax import HandModel

SIZE = 224
_ROOT = 9  # the middle knuckle, which uv_root and scale place
_ROOM = 1.5  # the picture's side over the hand's extent
_GREEN = np.array([40, 200, 70], np.uint8)


class FreiHANDWriter:
    """Writes one split of a tree.

    Args:
      output: the tree's folder (pathlib.Path).
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel of the frames.
      count: number of hands in the split; training pictures of a hand are `count` apart.
    """

    unlisted = 0

    def __init__(self, output: Path, split: str, hand: HandModel, count: int) -> None:
        self._output, self._folder, self._count = output, FOLDERS[split], count
        self._mean_pose = np.asarray(hand.mean_pose, np.float64)
        self._labels: dict[str, list[Any]] = {
            name: [] for name in ("K", "mano", "scale", "xyz", "verts")
        }

    def add(
        self, name: str, i: int, index: int, sequence: Sequence, listed: bool
    ) -> WriteFrame | None:
        """Take note of a frame's labels; see HO3DWriter.add."""
        vertices = sequence.vertices_cam[i]
        joints = np.concatenate([sequence.joints16_cam[i], vertices[list(FINGERTIPS["freihand"])]])
        joints = joints[HO3D_TO_MODEL]
        A = _square(project(joints, sequence.K))
        K = A @ sequence.K
        focal, depth = (K[0, 0] + K[1, 1]) / 2, joints[_ROOT, 2]
        uv_root = joints[_ROOT, :2] * focal / depth + K[:2, 2]
        pose = sequence.pose[i].ravel().astype(np.float64)
        pose[3:] -= self._mean_pose
        mano = np.concatenate([pose, sequence.betas, uv_root, [focal / depth]])
        bone = np.linalg.norm(joints[_ROOT + 1] - joints[_ROOT])
        labels = {"K": K, "mano": mano[None], "scale": bone, "xyz": joints, "verts": vertices}
        for kind, value in labels.items():
            self._labels[kind].append(np.round(value, 7).tolist())
        if self._picture("rgb", index + self._last).exists():
            return None

        def write(
            image: np.ndarray, depth: np.ndarray, hand: np.ndarray, rng: np.random.Generator
        ) -> None:
            for part in ("rgb", "mask")[: 2 if self._folder == "training" else 1]:
                self._picture(part, 0).parent.mkdir(parents=True, exist_ok=True)
            pictures = [image]
            if self._folder == "training":
                pictures = _variants(image, hand[..., None], rng)
                shown = np.uint8(255 * (hand >= 0.5))
                mask = np.repeat(shown[..., None], 3, axis=2)  # type: ignore[index]  # an array
                write_picture(self._picture("mask", index), crop_image(mask, A, SIZE)[..., 0])
            # The last variant comes last: a frame that has it is whole.
            for k, picture in enumerate(pictures):
                place = self._picture("rgb", index + k * self._count)
                write_picture(place, crop_image(picture, A, SIZE))

        return write

    @property
    def _last(self) -> int:
        return (len(VARIANTS) - 1) * self._count if self._folder == "training" else 0

    def _picture(self, part: str, number: int) -> Path:
        return self._output / self._folder / part / f"{number:08d}.jpg"

    def finish(self) -> None:
        """Nothing but the labels belongs to the whole split."""

    def publish(self, plan: list[tuple[str, int]]) -> None:
        """Write the labels, which make a reader take the split for whole, and of these K the last."""
        for kind in ("verts", "xyz", "scale", "mano", "K"):
            if kind != "mano" or self._folder == "training":
                text = json.dumps(self._labels[kind])
                write_whole(self._output / f"{self._folder}_{kind}.json", text.encode())


def _square(joints_px: np.ndarray) -> np.ndarray:
    """The map of the square about the hand to the picture."""
    low, high = joints_px.min(axis=0), joints_px.max(axis=0)
    return crop_matrix((low + high) / 2, _ROOM * (high - low).max(), SIZE)


def _variants(image: np.ndarray, hand: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The pictures of one hand: green screen, as it is, on another background, recoloured."""
    other = np.uint8(255 * np.clip(surface(rng, image.shape[:2], calm=False), 0, 1))
    cut = [hand * image + (1 - hand) * background for background in (_GREEN, other)]
    green, sample = (np.round(picture).astype(np.uint8) for picture in cut)
    return [green, image, sample, recolor(image, rng, 0.3)]
