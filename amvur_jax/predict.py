"""The hands of pictures and videos as files: numbers, meshes and overlays, one after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import orjson
from tqdm import tqdm

from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.names import text_of
from amvur_jax.files.video import ended_early, is_video, read_frames, said_length
from amvur_jax.files.whole import append_whole, explained, write_picture, write_whole, writing
from amvur_jax.hands import meshes, numbers, page
from amvur_jax.hands.focal import ASSUMED, Focal, exif_focal
from amvur_jax.hands.overlay import overlay
from amvur_jax.hands.pictures import OVERLAY, VIDEO_OVERLAY
from amvur_jax.hands.track import track_hands
from amvur_jax.hands.video import PIXELS, TOGETHER, write_video
from amvur_jax.runtime.ahead import ahead

if TYPE_CHECKING:
    from amvur_jax.hands.hand import FocalSource, Hand
    from amvur_jax.hands.reconstruct import Box, Reconstructor, Sight

_T = TypeVar("_T")
LINES, ARRAYS, DONE = "hands.jsonl", "hands.npz", "pictures.jsonl"
MESHES: dict[str, Callable[[Sequence[Hand], np.ndarray], bytes]] = {
    "glb": meshes.glb,
    "obj": meshes.obj,
    "ply": meshes.ply,
}


@dataclasses.dataclass
class Summary:
    """What became of the pictures: how many hands, which show none, which could not be read and why.

    pictures counts videos too, hands a hand in each frame. frames, tracks: of all videos. early: videos that
    ended early, and how. sigma: of the last hand, in words. earlier: pictures that were done before. page:
    --html's, in words.
    """

    pictures: int = 0
    videos: int = 0
    frames: int = 0
    tracks: int = 0
    hands: int = 0
    earlier: int = 0
    empty: list[Path] = dataclasses.field(default_factory=list)
    bad: dict[Path, str] = dataclasses.field(default_factory=dict)
    early: list[str] = dataclasses.field(default_factory=list)
    files: list[Path] = dataclasses.field(default_factory=list)
    sigma: str = ""
    page: str = ""


def predict(
    reconstructor: Reconstructor,
    pictures: Sequence[Path],
    output: str | Path,
    *,
    boxes: Mapping[Path, Sequence[Box]] | None = None,
    focal: Focal | None = None,
    kinds: Collection[str] = ("glb",),
    draw: bool = True,
    smooth: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    html: bool = False,
) -> Summary:
    """Reconstruct the hands of pictures and videos, and write what there is to see and to compute with.

    For a picture with hands NAME_overlay.jpg and its meshes, NAME.glb; for a video one animated NAME.glb,
    NAME_overlay.mp4 and a frame of it, NAME_overlay.jpg; for all hands.jsonl and hands.npz
    (docs/outputs.md). pictures.jsonl says what became of each. One that can't be read is named on stderr and
    left out.

    Args:
      reconstructor: amvur_jax.hands.reconstruct.Reconstructor.
      pictures: paths, those of videos among them.
      output: folder.
      boxes: where the hands are; of a picture that it lacks, or None: as the reconstructor finds them.
      focal: of all pictures; None: of their EXIF, else assumed.
      kinds: of a picture's meshes, of MESHES.
      draw: whether to write overlays.
      smooth: smooth the hands of a video.
      resume: leave out pictures that are done.
      overwrite: start anew where there are results.
      html: write index.html (`hands/page.py`) about all that the folder has then.
    Raises:
      UserError: the folder has results and neither resume nor overwrite is said, or cannot be written to:
        what is whole stays; as of `check_video`.
    """
    output = Path(output)
    for path in filter(is_video, pictures):
        check_video(path, boxes is not None, reconstructor.detector is not None)
    done = begin(output, resume, overwrite)
    names = {entry["picture"]: entry["name"] for entry in done.values()}
    summary = Summary()
    left = [path for path in pictures if text_of(path) not in done]
    summary.earlier = len(pictures) - len(left)

    def read(path: Path) -> _Read | _Write | UserError:
        try:
            if is_video(path):
                return _video(reconstructor, path, focal, draw, smooth, summary)
            given = None if boxes is None else boxes.get(path)
            return _read(reconstructor, path, focal, given)
        except UserError as error:
            return error

    # A video is written before the next item is looked at; its own steps show their progress.
    videos = any(map(is_video, left))
    together = 1 if videos or len(left) <= TOGETHER else TOGETHER
    each: Iterable[list[_Write | UserError]] = (
        _reconstructed(reconstructor, part, kinds, draw)
        for part in parts(map(read, left), _weigh, together)
    )
    if not videos:
        each = ahead(each)
    bar = tqdm(left, unit="picture", disable=None if len(left) > 1 else True)
    for number, (path, write) in enumerate(zip(bar, itertools.chain.from_iterable(each))):
        if isinstance(write, UserError):
            summary.bad[path] = str(write)
            if len(pictures) > 1:
                tqdm.write(f"left out: {write}", file=sys.stderr)
            continue
        picture = text_of(path)
        name = names.setdefault(picture, _name(path, names))
        rest = f"{len(left) - number} pictures are not done; --resume goes on"
        with explained(f"{output}: at {path} ({rest})"):
            made = write(output, name)
            entry = {"picture": picture, "name": name, "hands": made.hands, **made.said}
            append_whole(output / DONE, orjson.dumps(entry) + b"\n")
        summary.files += made.files
        summary.pictures += 1
        summary.hands += made.hands
        summary.sigma = made.sigma or summary.sigma
        if not made.hands:
            summary.empty.append(path)
    numbers.write_arrays(output / LINES, output / ARRAYS)
    summary.files += [output / LINES, output / ARRAYS, output / DONE]
    if html:
        entries, said = numbers.read_lines(output / DONE), numbers.read_lines(output / LINES)
        written = page.write_page(output, entries, said, summary.bad)
        summary.page = f"{written}: {page.size_text(written.stat().st_size)}, opens offline"
    return summary


class _Made(NamedTuple):
    """What was written: how many hands, the files, a hand's sigma in words, and what else is said of it."""

    hands: int
    files: list[Path]
    sigma: str
    said: dict[str, int]


_Write: TypeAlias = Callable[[Path, str], _Made]


class _Read(NamedTuple):
    """A picture (H, W, 3) uint8 RGB and its hands, not yet reconstructed."""

    path: Path
    image: np.ndarray
    sights: list[Sight]


def _read(
    reconstructor: Reconstructor, path: Path, focal: Focal | None, boxes: Sequence[Box] | None
) -> _Read:
    """Read a picture and find its hands."""
    image = read_image(path)
    own, source = focal_of(path, focal)
    return _Read(path, image, reconstructor.sights(image, own, boxes, source))


def parts(
    items: Iterable[_T], weigh: Callable[[_T], tuple[int, int]], together: int
) -> Iterator[list[_T]]:
    """The items, in order, in lists: of at most `together` items and hands and PIXELS, or of one.

    weigh: says how many hands and pixels an item has.
    """
    part: list[_T] = []
    hands = pixels = 0
    for item in items:
        more, size = weigh(item)
        if part and (hands + more > together or pixels + size > PIXELS):
            yield part
            part, hands, pixels = [], 0, 0
        part.append(item)
        hands, pixels = hands + more, pixels + size
        if len(part) == together:
            yield part
            part, hands, pixels = [], 0, 0
    if part:
        yield part


def _weigh(item: _Read | _Write | UserError) -> tuple[int, int]:
    if not isinstance(item, _Read):
        return 0, 0
    return len(item.sights), item.image[..., 0].size


def _reconstructed(
    reconstructor: Reconstructor,
    part: Sequence[_Read | _Write | UserError],
    kinds: Collection[str],
    draw: bool,
) -> list[_Write | UserError]:
    """Reconstruct the hands of the pictures in one go; what it gives writes each into a folder, by a name."""
    pictures = [item for item in part if isinstance(item, _Read)]
    hands = iter(reconstructor.hands([sight for item in pictures for sight in item.sights]))
    return [
        _picture(item, [next(hands) for _ in item.sights], reconstructor.faces, kinds, draw)
        if isinstance(item, _Read)
        else item
        for item in part
    ]


def _picture(
    read: _Read, hands: list[Hand], faces: np.ndarray, kinds: Collection[str], draw: bool
) -> _Write:
    """What writes the hands of a picture into a folder, by a name."""
    path, image, _ = read

    def write(output: Path, name: str) -> _Made:
        files: list[Path] = []
        if hands and draw:
            files.append(output / f"{name}{OVERLAY}")
            write_picture(files[-1], overlay(image, hands, faces))
        for kind in kinds if hands else ():
            files.append(output / f"{name}.{kind}")
            write_whole(files[-1], MESHES[kind](hands, faces))
        size = image.shape[1], image.shape[0]
        lines = [numbers.line(hand, text_of(path), i, size) for i, hand in enumerate(hands)]
        append_whole(output / LINES, b"".join(lines))
        return _Made(len(hands), files, sigma_text(hands[0]) if hands else "", {})

    return write


def _video(
    reconstructor: Reconstructor,
    path: Path,
    focal: Focal | None,
    draw: bool,
    smooth: bool,
    summary: Summary,
) -> _Write:
    """Follow the hands of a video; what it gives reconstructs and writes them into a folder, by a name."""
    assert reconstructor.detector is not None
    source: FocalSource = "assumed" if focal is None else "given"
    said = said_length(path)
    with _frames_bar(f"{path.name}: following", said.frames) as bar:
        frames = _counted(read_frames(path), bar)
        tracked = track_hands(reconstructor.detector, frames, reconstructor.thorough, smooth)
    count = len(tracked.times_s)
    tracks = len({track for frame in tracked.sightings for track, _ in frame})
    if ended_early(said, tracked.times_s):
        summary.early.append(
            f"{path}: ends after {count} of the {said.frames} frames that it says it has; these are kept"
        )
        tqdm.write(summary.early[-1], file=sys.stderr)

    def write(output: Path, name: str) -> _Made:
        files: list[Path] = []
        hands, sigma = 0, ""
        if tracks:
            drawn = [output / f"{name}{VIDEO_OVERLAY}", output / f"{name}{OVERLAY}"]
            files = drawn * draw + [output / f"{name}.glb"]
            lines = output / LINES
            done = write_video(
                reconstructor, path, tracked, focal or ASSUMED, source, lines, name, draw
            )
            with contextlib.closing(done), _frames_bar(f"{path.name}: hands", count) as bar:
                for _, seen in _counted(done, bar):
                    hands += len(seen)
                    sigma = sigma_text(seen[0][1]) if seen else sigma
        summary.videos += 1
        summary.frames += count
        summary.tracks += tracks
        return _Made(hands, files, sigma, {"frames": count, "tracks": tracks})

    return write


def _frames_bar(what: str, count: int) -> tqdm:
    return tqdm(desc=what, total=count or None, unit="frame", leave=False, disable=None)


def _counted(items: Iterable[_T], bar: tqdm) -> Iterator[_T]:
    for item in items:
        yield item
        bar.update()


def check_video(path: Path, boxes: bool, detector: bool) -> None:
    """Raise a UserError where boxes are given with a video, or there is no detector to follow its hands."""
    if boxes:
        raise UserError(
            f"{path}: is a video, whose hands are found; --box and --boxes are of pictures"
        )
    if not detector:
        raise UserError(f"{path}: is a video, whose hands the detector follows: not --detect=none")


def check_output(output: Path, resume: bool, overwrite: bool) -> None:
    """Raise a UserError where a folder has results of which nothing was said."""
    found = [output / name for name in (LINES, DONE) if (output / name).is_file()]
    if any(path.stat().st_size for path in found) and not (resume or overwrite):
        raise UserError(
            f"{output}: has results already; go on with --resume, start anew with --overwrite, or "
            "give another --output"
        )


def begin(output: Path, resume: bool, overwrite: bool) -> dict[str, dict[str, Any]]:
    """Make the folder ready: {picture: its entry} of the pictures that are done.

    Raises:
      UserError: as of `check_output`; the folder cannot be written to, or its files are damaged.
    """
    check_output(output, resume, overwrite)
    lines, record = output / LINES, output / DONE
    done: dict[str, dict[str, Any]] = {}
    if resume and record.exists():
        done = {entry["picture"]: entry for entry in numbers.read_lines(record)}
    with explained(output):
        output.mkdir(parents=True, exist_ok=True)
        # Of the picture at which a run was stopped there may be hands, but no entry.
        kept = numbers.read_lines(lines) if done else ()
        with writing(lines) as file:
            for entry in kept:
                if entry["picture"] in done:
                    file.write(orjson.dumps(entry) + b"\n")
        write_whole(record, b"".join(orjson.dumps(entry) + b"\n" for entry in done.values()))
    return done


def focal_of(path: Path, given: Focal | None) -> tuple[Focal | None, FocalSource]:
    """The focal length of a picture, and where it is from: `given`, else EXIF's, else None, to be assumed."""
    if given is not None:
        return given, "given"
    found = exif_focal(path)
    return found, "assumed" if found is None else "exif"


def _name(path: Path, taken: Mapping[str, str]) -> str:
    """What a picture's files are called: as itself, with a number where another one has that name."""
    stem = text_of(path.stem)
    names, number, name = set(taken.values()), 2, stem
    while name in names:
        name, number = f"{stem}_{number}", number + 1
    return name


def told(summary: Summary) -> str:
    """What a run has done, in words."""
    alone = summary.pictures == 1 and not (summary.bad or summary.earlier)
    last = [summary.page] if summary.page else []
    if alone and summary.hands:
        followed = [f"{summary.tracks} hands followed through {summary.frames} frames"]
        return "\n".join(
            [*map(str, summary.files), *followed * summary.videos, *last, summary.sigma]
        )
    pictures = summary.pictures - summary.videos
    places = [f"{pictures} pictures"] if pictures or not summary.videos else []
    if summary.videos:
        places.append(f"{summary.frames} frames of {summary.videos} videos")
    parts = [f"{summary.hands} hands in {' and '.join(places)}"]
    if summary.videos:
        parts.append(f"{summary.tracks} followed")
    if summary.empty:
        parts.append(f"{len(summary.empty)} without a hand")
    if summary.bad:
        parts.append(f"{len(summary.bad)} left out")
    if summary.early:
        parts.append(f"{len(summary.early)} ended early")
    if summary.earlier:
        parts.append(f"{summary.earlier} done before")
    return "\n".join([", ".join(parts), *last])


def check_summary(summary: Summary, several: bool) -> None:
    """Raise a UserError where a picture was left out, or one that is not of `several` shows no hand."""
    bad = list(summary.bad.items())
    if bad and not several:
        raise UserError(bad[0][1])
    if bad:
        named = ", ".join(str(path) for path, _ in bad[:10]) + ", ..." * (len(bad) > 10)
        raise UserError(f"{len(bad)} pictures could not be used and were left out: {named}")
    if summary.empty and not several:
        place = "" if is_video(summary.empty[0]) else ", or say where it is with --box"
        raise UserError(
            f"{summary.empty[0]}: no hand was found; look for a small one with --detect=thorough{place}"
        )


def sigma_text(hand: Hand) -> str:
    """How far off each finger may be, in a line: root mean squares over its joints of sigma in mm."""
    fingers = numbers.finger_sigma(hand.joints_sigma_mm)
    listed = ", ".join(f"{name} {value:.0f}" for name, value in fingers.items())
    kind = "calibrated" if hand.sigma_calibrated else "not calibrated: see evaluate.py --calibrate"
    return f"sigma of a coordinate relative to the wrist, mm ({kind}): {listed}"
