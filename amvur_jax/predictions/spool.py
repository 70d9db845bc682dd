"""Predictions on their way to files: each process appends to a part of its own, one reads them all.

A part is a file of records, each a plain run of numbers: nothing in it is ever executed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np

from amvur_jax.errors import UserError

if TYPE_CHECKING:
    import jax

# All of one prediction, as the network gives it: metres, OpenCV camera frame, the model's joint order;
# joints_2d in [0, 1] of the crop that has the intrinsics K; log-variances of coordinates in m².
RECORD = np.dtype(
    [
        ("index", np.int64),
        ("joints_cam", np.float32, (21, 3)),
        ("vertices_cam", np.float32, (778, 3)),
        ("joints_log_var", np.float32, (21, 3)),
        ("vertices_log_var", np.float32, (778, 3)),
        ("joints_2d", np.float32, (21, 2)),
        ("wrist_cam", np.float32, (3,)),
        ("K", np.float32, (3, 3)),
    ]
)


def part_path(folder: str | Path, process: int, processes: int) -> Path:
    """The part of one process."""
    return Path(folder) / f"predictions.{process:05d}-of-{processes:05d}.part"


class PartWriter:
    """Appends records to one process's part, in any order of the samples; a context manager.

    Args:
      folder: of all parts.
      process: which one this is, from 0.
      processes: how many there are.

    Raises:
      UserError: the folder cannot be written to.
    """

    def __init__(self, folder: str | Path, process: int = 0, processes: int = 1) -> None:
        self.path = part_path(folder, process, processes)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # "w": what an interrupted run left is not mixed with this one's.
            self._file = open(self.path, "wb")  # noqa: SIM115
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is not None:
            self.path.unlink(missing_ok=True)

    def add(self, arrays: Mapping[str, np.ndarray | jax.Array]) -> None:
        """Append a batch: {field of RECORD: (B, ...)}."""
        records = np.empty(len(arrays["index"]), RECORD)
        for name in RECORD.names:  # type: ignore[union-attr]  # a type with fields has names
            records[name] = arrays[name]
        try:
            self._file.write(records.tobytes())
        except OSError as error:
            raise _cannot_write(self.path, error) from error


class Parts:
    """All records of a split in its order, read from the parts as they are needed.

    Args:
      folder: of the parts.
      processes: how many wrote one.
      count: the number of samples in the split.

    Raises:
      UserError: a part is missing or cut, or a sample is missing or predicted twice.
    """

    def __init__(self, folder: str | Path, processes: int, count: int) -> None:
        self._paths = [part_path(folder, i, processes) for i in range(processes)]
        self._parts = [_open_part(path) for path in self._paths]
        indices = np.concatenate([part["index"] for part in self._parts])
        times = np.bincount(indices, minlength=count) if len(indices) else np.zeros(count, int)
        if len(times) != count or (times != 1).any():
            wrong = int(np.argmax(times != 1))
            raise UserError(
                f"{folder}: {len(indices)} predictions of {count} frames, frame {wrong} "
                f"{times[wrong]} times; did every process finish? Start the evaluation again"
            )
        self._part = np.repeat(np.arange(processes), [len(part) for part in self._parts])
        self._row = np.concatenate([np.arange(len(part)) for part in self._parts])
        self._order = np.argsort(indices)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[np.void]:
        """Every record in the order of the split."""
        for i in range(len(self)):
            yield self[i]

    def __getitem__(self, i: int) -> np.void:
        place = self._order[i]
        return self._parts[self._part[place]][self._row[place]]

    def batches(self, size: int = 256) -> Iterator[np.ndarray]:
        """Arrays of RECORD (up to `size`,), in order."""
        for start in range(0, len(self), size):
            yield np.array([self[i] for i in range(start, min(start + size, len(self)))], RECORD)

    def remove(self) -> None:
        """Delete the parts."""
        self._parts = []
        for path in self._paths:
            path.unlink(missing_ok=True)


def _open_part(path: Path) -> np.ndarray:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); all processes must write to one folder"
        ) from error
    if size % RECORD.itemsize:
        raise UserError(f"{path}: is cut; start the evaluation again")
    return np.memmap(path, RECORD, "r") if size else np.empty(0, RECORD)


def _cannot_write(path: Path, error: OSError) -> UserError:
    return UserError(
        f"{path}: cannot be written ({error.strerror}); free some space or choose another folder"
    )
