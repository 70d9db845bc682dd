"""Videos, folders and zips -> a folder of pictures with 2D joints that training and evaluation read.

What is labelled stands in hands.csv, which a person may correct: what stands there stays. Work is done by
parts, each of which ends with hands.csv and then label.json, so that a run that was killed goes on.
"""

from __future__ import annotations

import collections
import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from amvur_jax.data.readers.hands_csv import HANDS, LabelledHand, read_hands, write_hands
from amvur_jax.data.readers.photos import HANDS_JSON, STATE
from amvur_jax.errors import UserError
from amvur_jax.files.lock import locked
from amvur_jax.files.video import Frame, read_frames, said_length
from amvur_jax.files.whole import encode_picture, explained, save_picture, write_json, write_whole
from amvur_jax.labels import sources
from amvur_jax.labels.judge import (
    REASONS,
    Judge,
    Judged,
    are_of_several,
    judge_frames,
    judge_picture,
)
from amvur_jax.labels.sheets import contact_sheet
from amvur_jax.labels.sources import Source
from amvur_jax.labels.split import split_hands
from mano_jax.errors import MALFORMED

KEPT, DROPPED = "kept.jpg", "dropped.jpg"
FEW = 50  # hands, below which a network learns little
_LONGER_SIDE = 1280  # px: frames of larger videos are made smaller
_PART = (
    60  # frames of a video that may be kept, and pictures, between two times that all is written
)

_QUALITY = 92  # of the frames' JPEG


@dataclasses.dataclass
class _Progress:
    """Of a sequence: its size, how many pictures are done, whether all are, the next hand's number."""

    size: int
    done: int = 0
    whole: bool = False
    next_hand: int = 0
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)


class _Output:
    """The folder: what an earlier run left, and what this one adds."""

    def __init__(self, root: Path, every: int) -> None:
        self.root, self._every = root, every
        self.hands: list[LabelledHand] = []
        self.progress: dict[str, _Progress] = {}
        state = root / STATE
        if not state.exists():
            if any((root / name).exists() for name in (HANDS, HANDS_JSON)):
                raise UserError(f"{root}: has labels of somebody else's; give another --output")
            self._write_state()
            return
        try:
            before = json.loads(state.read_bytes())
            rows, every_before = int(before["rows"]), int(before["every"])
            for name, values in before["sequences"].items():
                counts = collections.Counter({k: int(v) for k, v in values.pop("counts").items()})
                self.progress[name] = _Progress(**values, counts=counts)
        except (OSError, *MALFORMED) as error:
            raise UserError(
                f"{state}: cannot be read ({error}); delete the folder to start anew"
            ) from None
        if every_before != every:
            raise UserError(
                f"{root}: was labelled with --every={every_before}; repeat it, or give another --output"
            )
        if (root / HANDS).exists() or rows:
            self.hands = read_hands(root / HANDS, rows)

    def started(self, source: Source) -> _Progress:
        """How far a sequence is."""
        progress = self.progress.setdefault(source.name, _Progress(source.size))
        if progress.size != source.size:
            raise UserError(
                f"{self.root}: has labels of another {source.name}, or it has changed since; rename "
                "it, or give another --output"
            )
        return progress

    def add(self, hands: Sequence[LabelledHand]) -> None:
        """Add the hands of a part; those that are there already stay as they are."""
        known = {(hand.file, hand.hand) for hand in self.hands}
        self.hands += [hand for hand in hands if (hand.file, hand.hand) not in known]
        self.write()

    def write(self) -> None:
        write_hands(self.root / HANDS, self.hands)
        self._write_state()

    def _write_state(self) -> None:
        sequences = {name: vars(p) for name, p in self.progress.items()}
        state = {"every": self._every, "rows": len(self.hands), "sequences": sequences}
        write_json(self.root / STATE, state)


def label(
    inputs: Sequence[str | Path],
    output: str | Path,
    detector: Judge,
    every: int = 5,
    evaluation: float = 0.2,
) -> list[str]:
    """Label the hands of videos and pictures.

    Args:
      inputs: videos; folders, looked through to the bottom; zips of pictures.
      output: folder for hands.csv, its pictures, and contact sheets of what was kept and dropped.
      detector: finds the hands.
      every: of a video every n-th frame may be kept.
      evaluation: share of the hands that is held back, from 0 to 0.5.

    Returns:
      what was done, a line each, and what a person ought to know.

    Raises:
      UserError: an input cannot be read or has changed, the folder holds something else or cannot be written,
        or no hand was kept.
    """
    root = Path(output)
    if every < 1 or not 0 <= evaluation <= 0.5:
        raise UserError("--every is a number from 1 on, --evaluation a share from 0 to 0.5")
    with sources.opened(inputs, root) as found, locked(root / "label.lock"):
        folder = _Output(root, every)
        for source in found:
            progress = folder.started(source)
            parts = _pictures if source.video is None else _video
            for hands in parts(root, source, progress, detector, every):
                folder.add(hands)
        folder.hands, how = split_hands(folder.hands, evaluation)
        folder.write()
    lines = [_told(source, folder) for source in found]
    for name, kept in ((KEPT, True), (DROPPED, False)):
        if shown := [hand for hand in folder.hands if hand.keep == kept]:
            save_picture(root / name, contact_sheet(root, shown))
    return lines + _summary(folder.hands, how, lines)


def _video(
    root: Path, source: Source, progress: _Progress, detector: Judge, every: int
) -> Iterator[list[LabelledHand]]:
    """The hands of a video, part by part: each is followed on its own, whether the run is killed or not."""
    path = source.video
    if progress.whole or path is None:
        return
    folder = sources.file_name(source.name, "")
    with tqdm(
        total=said_length(path).frames or None, unit="frame", desc=source.name, dynamic_ncols=True
    ) as bar:
        frames = read_frames(path)
        bar.update(sum(1 for _ in itertools.islice(frames, progress.done)))
        while not progress.whole:
            part = itertools.islice(frames, _PART * every)
            before = progress.counts["frames"]
            hands: list[LabelledHand] = []
            shrunk = (frame._replace(image=_shrunk(frame.image)) for frame in _shown(part, bar))
            for look in judge_frames(detector, shrunk, every, progress.next_hand, progress.counts):
                file = f"{folder}/{look.number:06d}.jpg"
                _save(root / file, encode_picture(look.image, ".jpg", _QUALITY))
                hands += [_line(file, source, look.number, look.image, one) for one in look.hands]
            progress.next_hand = max([progress.next_hand, *(hand.hand + 1 for hand in hands)])
            seen = progress.counts["frames"] - before
            progress.done += seen
            progress.whole = seen < _PART * every
            yield hands


def _shown(frames: Iterator[Frame], bar: tqdm) -> Iterator[Frame]:
    for frame in frames:
        bar.update()
        yield frame


def _pictures(
    root: Path, source: Source, progress: _Progress, detector: Judge, every: int
) -> Iterator[list[LabelledHand]]:
    """The hands of pictures, part by part."""
    with tqdm(
        total=source.size, initial=progress.done, unit="image", desc=source.name, dynamic_ncols=True
    ) as bar:
        while not progress.whole:
            hands: list[LabelledHand] = []
            for found in source.pictures[progress.done : progress.done + _PART]:
                data, image, fault = sources.read_picture(found)
                progress.counts.update(["frames"] + [fault] * bool(fault))
                judged = [] if image is None else judge_picture(detector, image)
                if image is not None and judged:
                    several = are_of_several([one.hand for one in judged])
                    progress.counts.update(["with hands"] + ["people"] * several)
                    name = found[0]
                    file = sources.file_name(name, Path(name).suffix.lower())
                    _save(root / file, data)
                    number = progress.done
                    hands += [_line(file, source, number, image, one) for one in judged]
                progress.done += 1
                bar.update()
            progress.whole = progress.done >= source.size
            yield hands


def _shrunk(image: np.ndarray) -> np.ndarray:
    scale = _LONGER_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image
    return cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _save(path: Path, data: bytes) -> None:
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)


def _line(file: str, source: Source, number: int, image: np.ndarray, one: Judged) -> LabelledHand:
    return LabelledHand(
        file=file,
        hand=one.number,
        sequence=source.name,
        frame=number,
        size=(image.shape[1], image.shape[0]),
        split="",
        side=one.hand.side,
        keep=not one.reason,
        reason=one.reason,
        # as the file will have them
        score=round(one.hand.score, 3),
        joints=one.joints.round(2),
        confidence=one.confidence.round(3),
    )


def _told(source: Source, folder: _Output) -> str:
    """What became of a sequence, with counts."""
    counts = folder.progress[source.name].counts
    what = "frames" if source.video else "pictures"
    hands = [hand for hand in folder.hands if hand.sequence == source.name]
    kept = sum(hand.keep for hand in hands)
    line = f"{source.name}: {counts['frames']} {what}, {counts['with hands']} with hands; {kept} hands kept"
    why = collections.Counter(hand.reason or "by hand" for hand in hands if not hand.keep)
    if why:
        line += ", dropped: " + ", ".join(f"{n} {reason}" for reason, n in why.most_common())
    if counts["still"]:
        line += f"; {counts['still']} left out whose hands had hardly moved"
    for fault in ("unreadable", "too large"):
        if counts[fault]:
            line += f"; {counts[fault]} {fault}"
    if source.video and counts["frames"] == 1:
        line += "; of one frame no motion can be measured"
    if counts["people"]:
        line += (
            f"\n  {counts['people']} {what} show hands of several people (two of a side, or more than two): "
            "each is a hand of its own here; set keep to 0 for those that you don't mean"
        )
    return line


def _summary(hands: Sequence[LabelledHand], how: str, lines: Sequence[str]) -> list[str]:
    kept = collections.Counter(hand.split for hand in hands if hand.keep)
    if not kept:
        raise UserError(
            "no hand is kept:\n  "
            + "\n  ".join(lines)
            + "\nfilm hands nearer, slower and in better light"
        )
    told = [f"{kept['train']} hands for training, {kept['evaluation']} for evaluation"]
    told += [f"  {how}"] if how else []
    why = {hand.reason for hand in hands if not hand.keep} & REASONS.keys()
    told += [f"  {reason}: {REASONS[reason]}" for reason in REASONS if reason in why]
    if kept.total() < FEW:
        told.append(
            f"WARNING: only {kept.total()} hands are usable, fewer than {FEW}: film longer, nearer (the hand "
            "a quarter of the picture's height or more), in even light, and move it slowly through all its "
            "poses; or give a smaller --every"
        )
    return told
