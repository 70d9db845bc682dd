"""Data sets seen through another one: some of the frames, some of the labels, or frames kept in memory.

What a view does not change is the data set's, so that every view is a data set (frame.Dataset) itself.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING

import numpy as np

from amvur_jax.files.image import read_mask

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from amvur_jax.data.frame import Dataset, Frame

# Which labels of a data set are used: the others are taken off its frames.
LABELS = ("all", "3d", "2d")


class View:
    """The data set itself; the others change a part of it.

    Args:
      dataset: a frame.Dataset.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self.root, self.split, self.layout = dataset.root, dataset.split, dataset.layout
        self.reach, self.left_out = dataset.reach, dataset.left_out
        self.endless = dataset.endless

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def names(self) -> Sequence[str]:
        """What the frames are called."""
        return self._dataset.names

    @property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The frames' (joints_cam, vertices_cam), or None."""
        return self._dataset.ground_truth

    @property
    def moments(self) -> Sequence[tuple[str, int]] | None:
        """Where in which sequence the frames were filmed."""
        return self._dataset.moments

    def frame(self, i: int) -> Frame:
        """The frame; its `index` is that of the data set below."""
        return self._dataset.frame(i)


class Chosen(View):
    """Some of the frames, in a given order.

    Args:
      dataset: a frame.Dataset.
      indices: which of its frames, integers.
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | np.ndarray) -> None:
        super().__init__(dataset)
        self.indices = indices

    def __len__(self) -> int:
        return len(self.indices)

    @functools.cached_property
    def names(self) -> list[str]:
        """What the frames are called."""
        return [self._dataset.names[i] for i in self.indices]

    @property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The frames' (joints_cam, vertices_cam), or None."""
        truth = self._dataset.ground_truth
        return truth and tuple(part[np.asarray(self.indices)] for part in truth)

    @property
    def moments(self) -> list[tuple[str, int]] | None:
        """Where in which sequence the frames were filmed."""
        moments = self._dataset.moments
        return None if moments is None else [moments[i] for i in self.indices]

    def frame(self, i: int) -> Frame:
        """The frame; its `index` is that of the data set below."""
        return self._dataset.frame(int(self.indices[i]))


class Share(Chosen):
    """Every `step`-th frame from `start` on: what one process predicts."""

    def __init__(self, dataset: Dataset, start: int, step: int) -> None:
        super().__init__(dataset, range(start, len(dataset), step))


class Subset(Chosen):
    """Evenly spread frames, in the data set's order: `count` of them, or with 0 all."""

    def __init__(self, dataset: Dataset, count: int = 0) -> None:
        count = min(count or len(dataset), len(dataset))
        super().__init__(dataset, np.linspace(0, len(dataset) - 1, count).astype(int))


class Limited(View):
    """Frames that keep only some of their labels; there is no ground truth.

    Args:
      dataset: a frame.Dataset.
      labels: "3d" (joints, no mesh) or "2d" (projected joints alone).
    """

    ground_truth = None

    def __init__(self, dataset: Dataset, labels: str) -> None:
        super().__init__(dataset)
        self._labels = labels

    def frame(self, i: int) -> Frame:
        """The frame of the data set, without the labels that are not wanted."""
        frame = self._dataset.frame(i)
        frame = dataclasses.replace(frame, pose=None, betas=None, trans=None, root_cam=None)
        if self._labels == "3d":
            return frame
        joints_px = frame.joints_px if frame.joints_cam is None else frame.projected_joints()
        return dataclasses.replace(frame, joints_cam=None, wrist_cam=None, joints_px=joints_px)


class Masked(View):
    """Frames whose `visible` lies in a folder: NAME.png of the frame NAME, white where True.

    Args:
      dataset: a frame.Dataset.
      folder: the folder.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        super().__init__(dataset)
        self._folder = folder

    def path(self, name: str) -> Path:
        """Where the mask of a frame lies."""
        return self._folder / f"{name}.png"

    def frame(self, i: int) -> Frame:
        """The frame with its mask.

        Raises:
          UserError: the frame cannot be read, or its mask is missing, damaged or of another size.
        """
        frame = self._dataset.frame(i)
        mask = read_mask(self.path(frame.name), frame.size[::-1])
        (x, y), (height, width) = frame.origin, frame.image.shape[:2]
        return dataclasses.replace(frame, visible=mask[y : y + height, x : x + width])


class Cached(View):
    """Frames that stay in memory once they are read, until the room for them is used up.

    Args:
      dataset: a frame.Dataset.
      room: bytes of images.
    """

    def __init__(self, dataset: Dataset, room: int) -> None:
        super().__init__(dataset)
        self._free = room
        self._frames: dict[int, Frame] = {}

    def frame(self, i: int) -> Frame:
        """The frame, from memory where it is there."""
        frame = self._frames.get(i)
        if frame is None:
            frame = self._dataset.frame(i)
            size = frame.image.nbytes + (0 if frame.visible is None else frame.visible.nbytes)
            if size <= self._free:
                self._free -= size
                self._frames[i] = frame
        return frame
