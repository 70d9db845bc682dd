"""Reading and writing video, a frame after the other, by the FFmpeg that OpenCV brings along."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from amvur_jax.errors import UserError
from amvur_jax.files.names import text_of

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".3gp"),
    *(".mts", ".m2ts", ".ogv", ".gif"),
)
_USUAL_RATE = 30.0  # frames a second, of a file that doesn't say it
_RATES = (1.0, 240.0)  # what is believed, and written
# Shorter by this share than it says, a video has ended early: what a file says of itself is often a bit off.
_EARLY = 0.05


class Frame(NamedTuple):
    """A frame of a video: its number from 0, its time stamp in seconds, and (H, W, 3) uint8 RGB."""

    number: int
    time_s: float
    image: np.ndarray


class Length(NamedTuple):
    """How long a video says it is: its frames, 0 where it does not say, and how many a second."""

    frames: int
    rate: float


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its name."""
    return path.suffix.lower() in SUFFIXES


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[cv2.VideoCapture]:
    if not path.is_file():
        raise UserError(f"{path}: there is no such video; check the path")
    if text_of(path) != str(path):  # OpenCV crashes
        raise UserError(f"{path}: its path is no UTF-8, which a video's must be; rename it")
    capture = cv2.VideoCapture(str(path))
    try:
        if not capture.isOpened():
            raise UserError(
                f"{path}: cannot be opened as a video: it is cut, or OpenCV lacks its codec; "
                f"{_remedy(path)}"
            )
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)  # OpenCV 4.11 leaves it off
        yield capture
    finally:
        capture.release()


def _remedy(path: Path) -> str:
    return (
        f"re-encode it, for example with `ffmpeg -i {path.name} -c:v libx264 {path.stem}_h264.mp4`"
    )


def said_length(path: Path) -> Length:
    """What a video says of its length.

    Raises:
      UserError: it is not there, or is none that OpenCV can open.
    """
    with _opened(path) as capture:
        return _said(capture)


def _said(capture: cv2.VideoCapture) -> Length:
    count, rate = (capture.get(p) for p in (cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS))
    return Length(
        int(count) if 0 < count < 1e9 else 0,
        rate if _RATES[0] <= rate <= _RATES[1] else _USUAL_RATE,
    )


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of a video until its end, first damage or change of size, turned as its metadata says.

    Times are the file's own time stamps; one that is missing, or not after the one before it, is taken to be
    1 / rate after it.

    Raises:
      UserError: it is not there, none that OpenCV can open, or has no frame that can be decoded.
    """
    with _opened(path) as capture:
        step, number, time, shape = 1 / _said(capture).rate, 0, -math.inf, None
        while True:
            there, image = capture.read()
            if not there or image is None or image.shape != (shape or image.shape):
                break
            shape = image.shape
            stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if not (math.isfinite(stamp) and stamp > time):
                stamp = time + step if number else 0.0
            time = stamp
            yield Frame(number, time, cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
            number += 1
    if not number:
        raise UserError(f"{path}: has no frame that can be decoded; {_remedy(path)}")


def ended_early(said: Length, times_s: Sequence[float]) -> bool:
    """Whether the frames that were read, at times of seconds, are fewer than a video says it has."""
    if not said.frames or not len(times_s):
        return False
    read = times_s[-1] - times_s[0] + 1 / said.rate
    return len(times_s) < said.frames and read < (1 - _EARLY) * said.frames / said.rate


class VideoWriter:
    """An MP4 (MPEG-4 part 2, no sound) of frames that come at any times, shown at an even rate.

    What OpenCV can write without anything installed. The file takes its place when the block ends without an
    exception.

        with VideoWriter(path, (width, height), times_s) as video:
            for image in images:
                video.write(image)

    Args:
      path: of the file.
      size: width and height of its frames, px, both even.
      times_s: of all frames to be written, seconds, increasing.
    Raises:
      OSError: on entering: it cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], times_s: Sequence[float]) -> None:
        self.path, self.size = path, size
        self._partial = path.with_name(f"{path.stem}.part{path.suffix}")
        steps = np.diff(times_s)
        # Without pauses; the mean, for many files have times in whole milliseconds.
        step = steps[steps < 1.5 * np.median(steps)].mean() if len(steps) else 1 / _USUAL_RATE
        rate = 1 / float(step)
        # Of two digits: MPEG-4 has 16 bits for the parts of a second.
        self.rate = round(min(max(rate, _RATES[0]), _RATES[1]), 2)
        # Where the next frame's time begins, in frames of the even rate; the last frame is shown for one.
        ends = [*times_s[1:], times_s[-1] + 1 / self.rate]
        self._ends = [round((end - times_s[0]) * self.rate) for end in ends]
        self._read = self._written = 0

    def __enter__(self) -> VideoWriter:
        if text_of(self.path) != str(self.path):  # OpenCV crashes
            raise OSError("its path is no UTF-8, which a video's must be")
        # OpenCV does not say why: a missing folder or a full disk is met here, with its reason.
        with open(self._partial, "wb") as file:
            file.write(bytes(1 << 16))
        code = cv2.VideoWriter.fourcc(*"mp4v")
        self._video = cv2.VideoWriter(str(self._partial), code, self.rate, self.size)
        if not self._video.isOpened():
            self._partial.unlink(missing_ok=True)
            raise OSError("OpenCV cannot write MPEG-4 here; leave it out with --overlay=False")
        return self

    def write(self, image: np.ndarray) -> None:
        """The next frame, (height, width, 3) uint8 RGB: as often as it takes until the one after it."""
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        while self._written < self._ends[self._read]:
            self._video.write(image)
            self._written += 1
        self._read += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._video.release()
        try:
            if kind is None:
                self._check()
                os.replace(self._partial, self.path)
        finally:
            self._partial.unlink(missing_ok=True)

    def _check(self) -> None:
        """OpenCV does not say whether it could write: look."""
        capture = cv2.VideoCapture(str(self._partial))
        found = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
        capture.release()
        if found != self._written:
            raise OSError(
                f"{found} of {self._written} frames are in the file; the disk may be full"
            )
