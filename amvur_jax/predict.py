"""The hands of pictures as files: numbers, meshes and overlays, a picture after the other."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
from tqdm import tqdm

from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.whole import append_whole, explained, write_picture, write_whole, writing
from amvur_jax.hands import meshes, numbers, page
from amvur_jax.hands.focal import Focal, exif_focal
from amvur_jax.hands.overlay import overlay
from amvur_jax.hands.pictures import OVERLAY

if TYPE_CHECKING:
    from amvur_jax.hands.hand import FocalSource, Hand
    from amvur_jax.hands.reconstruct import Box, Reconstructor

LINES, ARRAYS, DONE = "hands.jsonl", "hands.npz", "pictures.jsonl"
MESHES: dict[str, Callable[[Sequence[Hand], np.ndarray], bytes]] = {
    "glb": meshes.glb,
    "obj": meshes.obj,
    "ply": meshes.ply,
}


@dataclasses.dataclass
class Summary:
    """What became of the pictures: how many hands, which show none, which could not be read and why.

    sigma: of the last hand, in words. earlier: pictures that were done before. page: --html's, in words.
    """

    pictures: int = 0
    hands: int = 0
    earlier: int = 0
    empty: list[Path] = dataclasses.field(default_factory=list)
    bad: dict[Path, str] = dataclasses.field(default_factory=dict)
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
    resume: bool = False,
    overwrite: bool = False,
    html: bool = False,
) -> Summary:
    """Reconstruct the hands of pictures and write what there is to see and to compute with.

    For a picture with hands NAME_overlay.jpg and its meshes, NAME.glb; for all hands.jsonl and hands.npz
    (docs/outputs.md). pictures.jsonl says what became of each picture. A picture that can't be read is named
    on stderr and left out.

    Args:
      reconstructor: amvur_jax.hands.reconstruct.Reconstructor.
      pictures: paths.
      output: folder.
      boxes: where the hands are; of a picture that it lacks, or None: as the reconstructor finds them.
      focal: of all pictures; None: of their EXIF, else assumed.
      kinds: of meshes, of MESHES.
      resume: leave out pictures that are done.
      overwrite: start anew where there are results.
      html: write index.html (`hands/page.py`) about all that the folder has then.
    Raises:
      UserError: the folder has results and neither resume nor overwrite is said, or cannot be written to:
        what is whole stays.
    """
    output, faces = Path(output), reconstructor.faces
    done = begin(output, resume, overwrite)
    names = {entry["picture"]: entry["name"] for entry in done.values()}
    summary = Summary()
    bar = tqdm(pictures, unit="picture", disable=None if len(pictures) > 1 else True)
    for number, path in enumerate(bar):
        if str(path) in done:
            summary.earlier += 1
            continue
        try:
            image = read_image(path)
            own, source = _focal(path, focal)
            given = None if boxes is None else boxes.get(path)
            hands = reconstructor(image, own, given, source)
        except UserError as error:
            summary.bad[path] = str(error)
            if len(pictures) > 1:
                tqdm.write(f"left out: {error}", file=sys.stderr)
            continue
        name = names.setdefault(str(path), _name(path, names))
        files: list[Path] = []
        left = len(pictures) - number
        with explained(f"{output}: at {path} ({left} pictures are not done; --resume goes on)"):
            if hands:
                files.append(output / f"{name}{OVERLAY}")
                write_picture(files[-1], overlay(image, hands, faces))
                for kind in kinds:
                    files.append(output / f"{name}.{kind}")
                    write_whole(files[-1], MESHES[kind](hands, faces))
            height, width = image.shape[:2]
            lines = [
                numbers.line(hand, str(path), i, (width, height)) for i, hand in enumerate(hands)
            ]
            append_whole(output / LINES, b"".join(lines))
            entry = {"picture": str(path), "name": name, "hands": len(hands)}
            append_whole(output / DONE, orjson.dumps(entry) + b"\n")
        summary.files += files
        summary.pictures += 1
        summary.hands += len(hands)
        if hands:
            summary.sigma = sigma_text(hands[0])
        else:
            summary.empty.append(path)
    numbers.write_arrays(output / LINES, output / ARRAYS)
    summary.files += [output / LINES, output / ARRAYS, output / DONE]
    if html:
        entries, said = numbers.read_lines(output / DONE), numbers.read_lines(output / LINES)
        written = page.write_page(output, entries, said, summary.bad)
        summary.page = f"{written}: {page.size_text(written.stat().st_size)}, opens offline"
    return summary


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


def _focal(path: Path, given: Focal | None) -> tuple[Focal | None, FocalSource]:
    if given is not None:
        return given, "given"
    found = exif_focal(path)
    return found, "assumed" if found is None else "exif"


def _name(path: Path, taken: Mapping[str, str]) -> str:
    """What a picture's files are called: as itself, with a number where another one has that name."""
    names, number, name = set(taken.values()), 2, path.stem
    while name in names:
        name, number = f"{path.stem}_{number}", number + 1
    return name


def told(summary: Summary) -> str:
    """What a run has done, in words."""
    alone = summary.pictures == 1 and not (summary.bad or summary.earlier)
    last = [summary.page] if summary.page else []
    if alone and summary.hands:
        return "\n".join([*map(str, summary.files), *last, summary.sigma])
    parts = [f"{summary.hands} hands in {summary.pictures} pictures"]
    if summary.empty:
        parts.append(f"{len(summary.empty)} without a hand")
    if summary.bad:
        parts.append(f"{len(summary.bad)} left out")
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
        raise UserError(
            f"{summary.empty[0]}: no hand was found; look for a small one with --detect=thorough, or say "
            "where it is with --box"
        )


def sigma_text(hand: Hand) -> str:
    """How far off each finger may be, in a line: root mean squares over its joints of sigma in mm."""
    fingers = numbers.finger_sigma(hand.joints_sigma_mm)
    listed = ", ".join(f"{name} {value:.0f}" for name, value in fingers.items())
    kind = "calibrated" if hand.sigma_calibrated else "not calibrated: see evaluate.py --calibrate"
    return f"sigma of a coordinate relative to the wrist, mm ({kind}): {listed}"
