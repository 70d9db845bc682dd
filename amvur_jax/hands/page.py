"""One page about a run: pictures, meshes that turn and move, numbers, in a file that needs nothing else."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import html
import itertools
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

import cv2
import numpy as np
import orjson

from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image, read_image
from amvur_jax.files.names import text_of
from amvur_jax.files.video import is_video, read_frames
from amvur_jax.files.whole import encode_picture, explained, writing
from amvur_jax.hands.numbers import finger_sigma
from amvur_jax.hands.pictures import OVERLAY
from mano_jax.errors import MALFORMED

PAGE = "index.html"
ASSETS = resources.files("amvur_jax") / "assets" / "page"
THUMBNAIL, SHOWN = 240, 1024  # px: the longest side of a thumbnail, of an overlay
_FOCAL = {
    "given": "given",
    "exif": "from the photo's EXIF",
    "assumed": "assumed: distances are right only up to it",
}


_Rows = list[tuple[str, str]]


class _Entry(NamedTuple):
    """A line of pictures.jsonl; a video's hands are its tracks, a photo has no frames."""

    name: str
    picture: str
    hands: int
    frames: int


class _Card(NamedTuple):
    """What the page says of a hand, and the range of its vertices' sigma, mm."""

    side: str
    title: str
    rows: _Rows
    low: float
    high: float


@dataclasses.dataclass
class _Track:
    """A hand of a video: where its first frame shows it, and sums over all of them."""

    side: str
    camera: _Rows
    calibrated: bool
    start: float
    end: float = 0.0
    frames: int = 0
    score: float = 0.0
    joints_variance: np.ndarray | float = 0.0
    vertices_sigma: np.ndarray | float = 0.0

    def add(self, entry: Mapping[str, Any]) -> None:
        self.frames += 1
        self.end = float(entry["time_s"])
        self.score += float(entry["score"])
        self.joints_variance += np.asarray(entry["joints_sigma_mm"], float) ** 2
        self.vertices_sigma += np.asarray(entry["vertices_sigma_mm"], float)

    def card(self, number: int, frames: int) -> _Card:
        """Of track `number` of a video of so many frames. Its mesh has mean sigmas too."""
        joints = np.sqrt(np.asarray(self.joints_variance) / self.frames)
        sigma = np.asarray(self.vertices_sigma) / self.frames
        rows = [
            ("seen", f"in {self.frames} of {frames} frames"),
            ("time", f"{self.start:.2f} to {self.end:.2f} s"),
            ("mean score", f"{self.score / self.frames:.2f}"),
            *self.camera,
            _sigma_row(joints, self.calibrated),
        ]
        title = f"{self.side} hand {number + 1}"
        return _Card(self.side, title, rows, float(sigma.min()), float(sigma.max()))


def write_page(
    output: Path,
    pictures: Iterable[Mapping[str, Any]],
    lines: Iterable[Mapping[str, Any]],
    left_out: Mapping[Path, str] | None = None,
) -> Path:
    """Write index.html into the folder of a run: overlays, GLBs and numbers are in it.

    Pictures and lines are read one after the other; of a video stays a table for each track. What a picture
    is called is text wherever it stands, and the page's own policy lets it load nothing and run no script but
    its own.

    Args:
      output: folder with NAME_overlay.jpg and NAME.glb; what is no longer there is said to be missing.
      pictures: entries of pictures.jsonl.
      lines: entries of hands.jsonl.
      left_out: pictures that could not be used, and why.
    Returns:
      the page.
    Raises:
      UserError: an entry lacks something, or the page cannot be written.
    """
    entries, path = [_entry(picture) for picture in pictures], output / PAGE
    hands = _by_picture(lines, {entry.picture: entry.frames for entry in entries})
    cards = [card for found in hands.values() for card in found]
    low = min((card.low for card in cards), default=0.0)
    high = max((card.high for card in cards), default=0.0)
    library, program = _asset("three.min.js"), _asset("page.js")
    values = {
        "counts": html.escape(_counts(entries)),
        "kind": "single" if len(entries) == 1 and not left_out else "several",
        "left_out": _listed(left_out or {}),
        "hashes": " ".join(f"'sha256-{_sha256(text)}'" for text in (library, program)),
        "style": _asset("page.css"),
        "library": library,
        "program": program,
        "low": f"{low:.0f}",
        "high": f"{max(high, low + 1):.0f}",
    }
    head, tail = (Template(part) for part in _asset("page.html").split("$pictures"))
    with explained(path), writing(path) as file:
        file.write(head.substitute(values).encode())
        for entry in entries:
            file.write(_item(output, entry, hands.get(entry.picture, [])).encode())
        values["size"] = size_text(file.tell() + len(library))
        file.write(tail.substitute(values).encode())
    return path


def size_text(size: int) -> str:
    """A number of bytes in MB."""
    return f"{size / 1e6:.1f} MB"


def _asset(name: str) -> str:
    return (ASSETS / name).read_text("utf-8")


def _sha256(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _entry(picture: Mapping[str, Any]) -> _Entry:
    try:
        name, path = str(picture["name"]), str(picture["picture"])
        if Path(name).name != name:
            raise ValueError(f"{name!r} is no file's name")
        hands, frames = (int(picture.get(count, 0)) for count in ("hands", "frames"))
        return _Entry(name, path, int(picture["tracks"]) if frames else hands, frames)
    except MALFORMED as error:
        reason = f"no {error}" if isinstance(error, KeyError) else error
        raise UserError(f"pictures.jsonl: {reason}; start anew with --overwrite") from error


def _counts(entries: list[_Entry]) -> str:
    videos = sum(entry.frames > 0 for entry in entries)
    photos = len(entries) - videos
    places = [f"{photos} pictures"] if photos or not videos else []
    places += [f"{videos} videos"] if videos else []
    hands, empty = sum(entry.hands for entry in entries), sum(not entry.hands for entry in entries)
    return f"{hands} hands in {' and '.join(places)}" + f", {empty} without one" * bool(empty)


def _listed(left_out: Mapping[Path, str]) -> str:
    if not left_out:
        return ""
    rows = "".join(f"<li>{html.escape(text_of(reason))}</li>" for reason in left_out.values())
    return f"<details><summary>{len(left_out)} left out</summary><ul>{rows}</ul></details>"


def _by_picture(
    lines: Iterable[Mapping[str, Any]], frames: Mapping[str, int]
) -> dict[str, list[_Card]]:
    """The hands of each picture. frames: how many a picture has, 0 of a photo."""
    found: dict[str, list[_Card]] = {}
    videos: dict[str, dict[int, _Track]] = {}
    for number, entry in enumerate(lines, 1):
        try:
            picture, side = str(entry["picture"]), str(entry["side"])
            if frames.get(picture):
                tracks = videos.setdefault(picture, {})
                if (which := int(entry["track"])) not in tracks:
                    known = bool(entry["sigma_calibrated"])
                    start = float(entry["time_s"])
                    tracks[which] = _Track(side, _camera_rows(entry), known, start)
                tracks[which].add(entry)
            else:
                cards = found.setdefault(picture, [])
                sigma = np.asarray(entry["vertices_sigma_mm"], float)
                title = f"{side} hand {len(cards) + 1}"
                low, high = float(sigma.min()), float(sigma.max())
                cards.append(_Card(side, title, _rows(entry), low, high))
        except MALFORMED as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(
                f"hands.jsonl: line {number}: {reason}; start anew with --overwrite"
            ) from error
    for picture, tracks in videos.items():
        found[picture] = [tracks[i].card(i, frames[picture]) for i in sorted(tracks)]
    return found


def _rows(entry: Mapping[str, Any]) -> _Rows:
    """The numbers of a hand, in words."""
    x, y, z = (100 * float(value) for value in entry["joints_cam"][0])
    sigma = np.asarray(entry["joints_sigma_mm"], float)
    return [
        ("score", f"{float(entry['score']):.2f}"),
        *_camera_rows(entry),
        ("wrist", f"x {x:.1f}, y {y:.1f}, z {z:.1f} cm (right, down, away)"),
        ("translation", f"{_listing(entry['translation'], 4)} m"),
        _sigma_row(sigma, entry["sigma_calibrated"]),
        ("betas", _listing(entry["betas"], 2)),
    ]


def _camera_rows(entry: Mapping[str, Any]) -> _Rows:
    K = np.asarray(entry["K"], float)
    width, height = entry["image_size"]
    return [
        ("focal length", f"{K[0, 0]:.0f} px, {_FOCAL.get(entry['focal_source'], '')}"),
        ("K", "; ".join(", ".join(f"{value:g}" for value in row) for row in K.round(2))),
        ("picture", f"{width} x {height} px"),
    ]


def _sigma_row(joints_sigma_mm: np.ndarray, calibrated: bool) -> tuple[str, str]:
    fingers = finger_sigma(joints_sigma_mm)
    kind = "sigma, mm" + ("" if calibrated else " (not calibrated)")
    return kind, ", ".join(f"{name} {value:.1f}" for name, value in fingers.items())


def _listing(values: Iterable[float], digits: int) -> str:
    return ", ".join(f"{float(value):.{digits}f}" for value in values)


def _item(output: Path, entry: _Entry, cards: list[_Card]) -> str:
    """A picture's entry in the list: its button, and what is shown when it is pressed."""
    name, picture, _, frames = entry
    drawn = _read(output / f"{name}{OVERLAY}")
    mesh = _read(output / f"{name}.glb")
    image = _picture(picture, drawn)
    if not cards:
        alt = "no hand was found"
    elif drawn is None:
        alt = "its overlay is no longer beside this page"
    else:
        kinds = ", ".join(
            f"{len(list(same))} {side}"
            for side, same in itertools.groupby(sorted(card.side for card in cards))
        )
        alt = f"hands drawn over {'a frame of the video' if frames else 'the photo'}: {kinds}"
    shown = {
        "title": Path(picture).name,
        "folder": str(Path(picture).parent),
        "alt": alt,
        "overlay": None if image is None or not cards else _jpeg(image, SHOWN),
        "glb": None if mesh is None else base64.b64encode(mesh).decode(),
        "file": f"{name}.glb",
        "hands": [{"title": card.title, "rows": card.rows} for card in cards],
    }
    thumbnail = '<span class="blank"></span>'
    if image is not None:
        source = f"data:image/jpeg;base64,{_jpeg(image, THUMBNAIL)}"
        thumbnail = f'<img loading="lazy" decoding="async" alt="{html.escape(alt)}" src="{source}">'
    # In JSON a < may be written so, and nothing in it can then end the script.
    data = orjson.dumps(shown).decode().replace("<", "\\u003c")
    kind = "" if mesh is not None else ' class="empty"'
    length = f"<small>video, {frames} frames</small>" if frames else ""
    return (
        f'<li><button type="button"{kind}>{thumbnail}<bdi>{html.escape(Path(picture).name)}</bdi>'
        f'{length}</button>\n<script type="application/json">{data}</script></li>\n'
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _picture(path: str, drawn: bytes | None) -> np.ndarray | None:
    """The overlay, else the photograph or first frame, else None where neither can be read any more."""
    try:
        if drawn is not None:
            return decode_image(drawn, path)
        return next(read_frames(Path(path))).image if is_video(Path(path)) else read_image(path)
    except UserError:
        return None


def _jpeg(image: np.ndarray, longest: int) -> str:
    """A picture (H, W, 3) RGB with at most `longest` px, as base64 of a JPEG."""
    height, width = image.shape[:2]
    scale = min(1.0, longest / max(height, width))
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return base64.b64encode(encode_picture(image, ".jpg", 85)).decode()
