"""The hands of a video: followed first, then reconstructed, several frames together.

The video is read twice and no frame is kept: a hand's side is known from the whole of its track before the
network sees it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2

from amvur_jax.files.video import Frame, VideoWriter, read_frames
from amvur_jax.files.whole import append_whole, write_picture, write_whole
from amvur_jax.hands import numbers
from amvur_jax.hands.animation import Animation
from amvur_jax.hands.focal import Focal, intrinsics
from amvur_jax.hands.hand import FocalSource, Hand
from amvur_jax.hands.overlay import SIDES, overlay
from amvur_jax.hands.pictures import OVERLAY, VIDEO_OVERLAY
from amvur_jax.hands.reconstruct import SIZES, Reconstructor, Sight
from amvur_jax.hands.track import Tracked

TOGETHER = SIZES[-1]  # hands that the network sees at once, of at most so many frames
PIXELS = TOGETHER * 1920 * 1080  # that wait for it at most


_LONGER = 960  # px: of the overlay's longer side at most


class Shown(NamedTuple):
    """A frame and its hands, each with the number of its track."""

    frame: Frame
    hands: list[tuple[int, Hand]]


def reconstruct_frames(
    reconstructor: Reconstructor,
    frames: Iterable[Frame],
    tracked: Tracked,
    focal: Focal,
    focal_source: FocalSource,
) -> Iterator[Shown]:
    """Each frame of a video with its hands, in order.

    Args:
      reconstructor: for its network; tracked has what a detector has found.
      frames: of the video, all of one size; none but TOGETHER of them are kept at a time.
      tracked: the hands of the same frames.
      focal: of all frames.
      focal_source: where it is from.
    """
    waiting: list[Frame] = []
    hands = 0
    for frame in frames:
        if frame.number >= len(tracked.sightings):
            break
        count = len(tracked.sightings[frame.number])
        height, width = frame.image.shape[:2]
        full = len(waiting) == TOGETHER or (len(waiting) + 1) * height * width > PIXELS
        if waiting and (hands + count > TOGETHER or full):
            yield from _together(reconstructor, waiting, tracked, focal, focal_source)
            waiting, hands = [], 0
        waiting.append(frame)
        hands += count
    if waiting:
        yield from _together(reconstructor, waiting, tracked, focal, focal_source)


def _together(
    reconstructor: Reconstructor,
    frames: list[Frame],
    tracked: Tracked,
    focal: Focal,
    focal_source: FocalSource,
) -> Iterator[Shown]:
    height, width = frames[0].image.shape[:2]
    size = width, height
    sightings = [tracked.sightings[frame.number] for frame in frames]
    K = intrinsics(focal, size)
    sights = [
        Sight(frame.image, reconstructor.found(hand, size), K, focal_source)
        for frame, part in zip(frames, sightings)
        for _, hand in part
    ]
    hands = iter(reconstructor.hands(sights))
    for frame, part in zip(frames, sightings):
        yield Shown(frame, [(track, next(hands)) for track, _ in part])


def write_video(
    reconstructor: Reconstructor,
    path: Path,
    tracked: Tracked,
    focal: Focal,
    focal_source: FocalSource,
    lines: Path,
    name: str,
    draw: bool = True,
) -> Generator[Shown, None, None]:
    """Write what there is of a video: its hands' numbers, overlays, and one animated GLB.

    Args:
      path: of the video.
      tracked: its hands, at least one.
      focal: of all frames.
      focal_source: where it is from.
      lines: hands.jsonl, to which they are appended.
      name: of the files beside it: NAME.glb, NAME_overlay.mp4, and NAME_overlay.jpg of the frame that
        shows most of its hands, and best.
      draw: whether to write overlays.
    Yields:
      each frame, when it is done; the files are there after the last one.
    Raises:
      OSError: a file cannot be written.
    """
    animation = Animation(reconstructor.predictor.hand)
    frames = read_frames(path)
    best = _best_frame(tracked)
    with contextlib.ExitStack() as stack:
        video: VideoWriter | None = None
        for shown in reconstruct_frames(reconstructor, frames, tracked, focal, focal_source):
            image, hands = shown.frame.image, [hand for _, hand in shown.hands]
            number, time = shown.frame.number, shown.frame.time_s
            size = image.shape[1], image.shape[0]
            append_whole(
                lines,
                b"".join(
                    numbers.line(hand, str(path), i, size, number, time, track)
                    for i, (track, hand) in enumerate(shown.hands)
                ),
            )
            animation.add(time, shown.hands)
            if draw and video is None:
                out = lines.with_name(f"{name}{VIDEO_OVERLAY}")
                video = VideoWriter(out, _overlay_size(size), tracked.times_s)
                stack.enter_context(video)
            if video is not None:
                drawn = overlay(image, hands, reconstructor.faces)
                if number == best:
                    write_picture(lines.with_name(f"{name}{OVERLAY}"), drawn)
                larger = drawn.shape[1] > video.size[0]
                kind = cv2.INTER_AREA if larger else cv2.INTER_LINEAR
                video.write(cv2.resize(drawn, video.size, interpolation=kind))
            yield shown
    write_whole(lines.with_name(f"{name}.glb"), animation.glb())


def _best_frame(tracked: Tracked) -> int:
    """The number of the frame whose hands have the highest scores together."""
    scores = [sum(one.hand.score for one in frame) for frame in tracked.sightings]
    return scores.index(max(scores))


def _overlay_size(size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a video's overlay, even, for one of `size`."""
    scale = min(max(*size, SIDES[0]), _LONGER) / max(size)
    width, height = (max(2 * round(scale * length / 2), 2) for length in size)
    return width, height
