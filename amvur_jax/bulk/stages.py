"""The two stages of a bulk run: hands found and cut out by the one, reconstructed and written by the other.

Both load once and then take one partition after the other. Of pictures only crops go from the first to the
second, 12 kB a hand by the shipped network; a video is read by both, as `predict` reads it twice.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, TypeVar

import cv2
import jax

from amvur_jax import inference, weights
from amvur_jax.bulk import tables
from amvur_jax.bulk.notes import TRIES, Notes
from amvur_jax.bulk.sources import Partition, Source
from amvur_jax.detect.detector import Detector
from amvur_jax.errors import UserError
from amvur_jax.files.video import ended_early, read_frames, said_length
from amvur_jax.hands.focal import ASSUMED, Focal
from amvur_jax.hands.hand import FocalSource
from amvur_jax.hands.reconstruct import SIZES, Crop, Reconstructor
from amvur_jax.hands.track import Tracked, track_hands
from amvur_jax.hands.video import reconstruct_frames
from amvur_jax.predict import focal_of, parts
from amvur_jax.runtime import startup

_ROWS = 512  # of a row group of a video's hands
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What all workers are told.

    output: absolute, in a file system that all see. checkpoint, hand: as of `inference.load`. detector,
    thorough, refine, smooth, focal: as of `predict`. together: hands that the network sees at once, at
    most; by the default the bits are those of `predict`. xla_flags: the environment's, for all to compute
    alike. compiled: folder of compiled code, "" for none.
    """

    output: Path
    checkpoint: str = weights.NAME
    hand: str | None = None
    detector: str | None = None
    thorough: bool = False
    refine: bool = True
    smooth: bool = True
    focal: Focal | None = None
    together: int = SIZES[-1]
    xla_flags: str = ""
    compiled: str = ""

    def load(self) -> Reconstructor:
        """The network and the detector.

        Raises:
          UserError: as of `inference.load` and Detector.
        """
        predictor = inference.load(self.checkpoint, self.hand)
        return Reconstructor(
            predictor,
            Detector(self.detector),
            self.thorough,
            refine=self.refine,
            together=self.together,
        )


@dataclasses.dataclass
class Seen:
    """A picture or video and its hands, not yet reconstructed, or why there are none.

    size: width, height px. tracked, frames, remark: of a video.
    """

    source: Source
    size: tuple[int, int] = (0, 0)
    crops: list[Crop] = dataclasses.field(default_factory=list)
    tracked: Tracked | None = None
    remark: str | None = None
    error: str | None = None


@dataclasses.dataclass
class Found:
    """A partition of which all hands are found. seconds: spent by what; peak_mib: memory of the process."""

    partition: Partition
    seen: list[Seen]
    seconds: dict[str, float]
    peak_mib: dict[str, float]


@dataclasses.dataclass
class Done:
    """A partition that is written: the entries of its pictures."""

    entries: list[dict[str, Any]]
    seconds: dict[str, float]
    peak_mib: dict[str, float]


class _Stage:
    """A process's own reconstructor, and its times."""

    name: Literal["find", "reconstruct"]

    def __init__(self, settings: Settings) -> None:
        os.environ["XLA_FLAGS"] = settings.xla_flags
        startup.collect_rarely()
        startup.keep_compiled(settings.compiled)
        self.settings = settings
        self.reconstructor = self.load()
        self.seconds: dict[str, float] = collections.defaultdict(float)

    def load(self) -> Reconstructor:
        """What the process keeps."""
        return self.settings.load()

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Count the seconds of a block."""
        start = time.perf_counter()
        yield
        self.seconds[part] += time.perf_counter() - start

    def notes(self, partition: Partition) -> Notes:
        """The Notes of a partition in this stage."""
        return Notes(self.settings.output / tables.WORKING / f"{partition.name}.{self.name}")

    def spent(self) -> tuple[dict[str, float], dict[str, float]]:
        """Seconds since the last time it was asked, and the memory that the process had at most, MiB."""
        seconds, self.seconds = dict(self.seconds), collections.defaultdict(float)
        return seconds, {self.name: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def _died(where: str) -> str:
    return f"{TRIES} workers died {where}"


class Find(_Stage):
    """Partition -> Found: decode, detect, crop, on a core."""

    name = "find"

    def __init__(self, settings: Settings) -> None:
        jax.config.update("jax_platforms", "cpu")  # GPUs are the other stage's
        cv2.setNumThreads(1)  # the processes are the parallelism
        super().__init__(settings)

    def load(self) -> Reconstructor:
        """Without the network's parameters: it is not run here."""
        reconstructor = super().load()
        reconstructor.predictor = dataclasses.replace(reconstructor.predictor, state={})
        return reconstructor

    def __call__(self, partition: Partition) -> Found:
        """Find the hands of a partition's sources."""
        with self.notes(partition) as notes:
            seen = [
                self._tried(source)
                if notes.begin(step)
                else Seen(source, error=f"{source.name}: {_died('at it')}; look at it by itself")
                for step, source in enumerate(partition.sources)
            ]
        return Found(partition, seen, *self.spent())

    def _tried(self, source: Source) -> Seen:
        try:
            return _twice(lambda: self.video(source) if source.is_video else self.picture(source))
        except UserError as error:
            return Seen(source, error=str(error))
        except Exception as error:  # of this one source: the others go on
            return Seen(source, error=f"{source.name}: {type(error).__name__}: {error}")

    def picture(self, source: Source) -> Seen:
        """The hands of a picture."""
        with self.timed("read"):
            image = source.read()
            focal, focal_source = focal_of(source.path, self.settings.focal)
        with self.timed("detect"):
            sights = self.reconstructor.sights(image, focal, None, focal_source)
            crops = self.reconstructor.crops(sights)
        return Seen(source, (image.shape[1], image.shape[0]), crops)

    def video(self, source: Source) -> Seen:
        """The hands of a video, followed."""
        detector = self.reconstructor.detector
        assert detector is not None
        with self.timed("detect"):
            said, frames = said_length(source.path), read_frames(source.path)
            smooth = self.settings.smooth
            tracked = track_hands(detector, frames, self.settings.thorough, smooth)
        early = ended_early(said, tracked.times_s)
        count = len(tracked.times_s)
        remark = f"ends after {count} of the {said.frames} frames that it says it has"
        return Seen(source, tracked=tracked, remark=remark if early else None)


def _twice(action: Callable[[], _T]) -> _T:
    """What an action gives; once more where it fails, as reading over a network may."""
    try:
        return action()
    except Exception:
        return action()


class Reconstruct(_Stage):
    """Found -> Done: the network, on a GPU or all cores, and the partition's files."""

    name = "reconstruct"

    def __call__(self, found: Found) -> Done:
        """Reconstruct and write the hands of a partition; one that is written is left."""
        output, name = self.settings.output, found.partition.name
        path = tables.file_of(output, tables.PICTURES, name)
        if path.exists():  # the worker before died between writing and saying so
            return Done(tables.read_pictures(path), {}, {})
        counts: collections.Counter[Source] = collections.Counter()
        with (
            self.notes(found.partition) as notes,
            tables.writing_table(output, tables.HANDS, name, tables.HANDS_SCHEMA) as writer,
        ):
            for step, group in enumerate(parts(found.seen, self._weigh, self.settings.together)):
                if not notes.begin(step):
                    for seen in group:
                        seen.error = (
                            seen.error or f"{seen.source.name}: {_died('at it or near it')}"
                        )
                for source, rows in self._rows([seen for seen in group if not seen.error]):
                    counts[source] += len(rows)
                    with self.timed("write"):
                        writer.write_batch(tables.hands_batch(rows))
        entries = [_entry(seen, counts[seen.source]) for seen in found.seen]
        with self.timed("write"):
            tables.write_pictures(output, name, entries)
        seconds, peak = self.spent()
        return Done(entries, found.seconds | seconds, found.peak_mib | peak)

    def _weigh(self, seen: Seen) -> tuple[int, int]:
        """As of `predict`, so that hands are reconstructed together with the same ones."""
        pixels = seen.size[0] * seen.size[1] if self.settings.together == SIZES[-1] else 0
        return len(seen.crops), pixels

    def _rows(self, group: list[Seen]) -> Iterator[tuple[Source, list[tables.Row]]]:
        """The rows of a group of pictures, or of a video, a part of them at a time."""
        if group and group[0].tracked is not None:
            (seen,) = group
            yield from self._video_rows(seen, group[0].tracked)
            return
        with self.timed("network"):
            crops = [crop for seen in group for crop in seen.crops]
            hands = iter(self.reconstructor.cropped_hands(crops))
        for seen in group:
            own = [next(hands) for _ in seen.crops]
            name, size = seen.source.name, seen.size
            yield seen.source, [tables.Row(name, i, size, hand) for i, hand in enumerate(own)]

    def _video_rows(
        self, seen: Seen, tracked: Tracked
    ) -> Iterator[tuple[Source, list[tables.Row]]]:
        source, settings, rows = seen.source, self.settings, list[tables.Row]()
        focal_source: FocalSource = "assumed" if settings.focal is None else "given"
        frames = reconstruct_frames(
            self.reconstructor,
            read_frames(source.path),
            tracked,
            settings.focal or ASSUMED,
            focal_source,
        )
        while True:
            with self.timed("network"):
                shown = next(frames, None)
            if shown is None or len(rows) >= _ROWS:
                yield source, rows
                rows = []
            if shown is None:
                return
            number, time_s, image = shown.frame
            size = image.shape[1], image.shape[0]
            rows += [
                tables.Row(source.name, i, size, hand, number, time_s, track)
                for i, (track, hand) in enumerate(shown.hands)
            ]


def _entry(seen: Seen, hands: int) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "picture": seen.source.name,
        "remark": seen.remark,
        "error": seen.error,
    }
    if seen.tracked is not None:
        tracks = {one.track for frame in seen.tracked.sightings for one in frame}
        entry |= {"frames": len(seen.tracked.times_s), "tracks": len(tracks)}
    return entry | {"hands": hands}
