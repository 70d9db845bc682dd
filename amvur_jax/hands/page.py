"""One page about a run: pictures, meshes to turn, numbers, in a file that needs nothing else."""

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
from typing import Any

import cv2
import numpy as np
import orjson

from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image, read_image
from amvur_jax.files.names import text_of
from amvur_jax.files.whole import encode_picture, explained, writing
from amvur_jax.hands.numbers import finger_sigma
from amvur_jax.hands.pictures import OVERLAY

PAGE = "index.html"
ASSETS = resources.files("amvur_jax") / "assets" / "page"
THUMBNAIL, SHOWN = 240, 1024  # px: the longest side of a thumbnail, of an overlay
_FOCAL = {
    "given": "given",
    "exif": "from the photo's EXIF",
    "assumed": "assumed: distances are right only up to it",
}


@dataclasses.dataclass
class _Hands:
    """What the page says of a picture's hands: [{title, rows}], their sides, and the range of sigma, mm."""

    cards: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    sides: list[str] = dataclasses.field(default_factory=list)
    low: float = np.inf
    high: float = -np.inf


def write_page(
    output: Path,
    pictures: Iterable[Mapping[str, Any]],
    lines: Iterable[Mapping[str, Any]],
    left_out: Mapping[Path, str] | None = None,
) -> Path:
    """Write index.html into the folder of a run: overlays, GLBs and numbers are in it.

    Pictures are read and written one after the other. What a picture is called is text wherever it stands,
    and the page's own policy lets it load nothing and run no script but its own.

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
    pictures, path = list(pictures), output / PAGE
    hands = _by_picture(lines)
    found = [hands[name] for name in hands]
    low = min((float(h.low) for h in found), default=0.0)
    high = max((float(h.high) for h in found), default=0.0)
    library, program = _asset("three.min.js"), _asset("page.js")
    values = {
        "counts": html.escape(_counts(pictures)),
        "kind": "single" if len(pictures) == 1 and not left_out else "several",
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
        for entry in pictures:
            try:
                name, picture = str(entry["name"]), str(entry["picture"])
            except KeyError as error:
                raise UserError(
                    f"pictures.jsonl: no {error}; start anew with --overwrite"
                ) from error
            if Path(name).name != name:
                raise UserError(
                    f"pictures.jsonl: {name!r} is no file's name; start anew with --overwrite"
                )
            file.write(_item(output, name, picture, hands.get(picture, _Hands())).encode())
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


def _counts(pictures: list[Mapping[str, Any]]) -> str:
    hands = sum(int(entry.get("hands", 0)) for entry in pictures)
    empty = sum(not entry.get("hands", 0) for entry in pictures)
    return f"{hands} hands in {len(pictures)} pictures" + f", {empty} without one" * bool(empty)


def _listed(left_out: Mapping[Path, str]) -> str:
    if not left_out:
        return ""
    rows = "".join(f"<li>{html.escape(text_of(reason))}</li>" for reason in left_out.values())
    return f"<details><summary>{len(left_out)} left out</summary><ul>{rows}</ul></details>"


def _by_picture(lines: Iterable[Mapping[str, Any]]) -> dict[str, _Hands]:
    found: dict[str, _Hands] = {}
    for number, entry in enumerate(lines, 1):
        try:
            hands = found.setdefault(str(entry["picture"]), _Hands())
            sigma = np.asarray(entry["vertices_sigma_mm"], float)
            hands.low, hands.high = min(hands.low, sigma.min()), max(hands.high, sigma.max())
            hands.sides.append(str(entry["side"]))
            title = f"{entry['side']} hand {len(hands.sides)}"
            hands.cards.append({"title": title, "rows": _rows(entry)})
        except (KeyError, IndexError, TypeError, ValueError) as error:
            reason = f"no {error}" if isinstance(error, KeyError) else error
            raise UserError(
                f"hands.jsonl: line {number}: {reason}; start anew with --overwrite"
            ) from error
    return found


def _rows(entry: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of a hand, in words."""
    K = np.asarray(entry["K"], float)
    width, height = entry["image_size"]
    fingers = finger_sigma(np.asarray(entry["joints_sigma_mm"], float))
    calibrated = "" if entry["sigma_calibrated"] else " (not calibrated)"
    x, y, z = (100 * float(value) for value in entry["joints_cam"][0])
    return [
        ("score", f"{float(entry['score']):.2f}"),
        ("focal length", f"{K[0, 0]:.0f} px, {_FOCAL.get(entry['focal_source'], '')}"),
        ("K", "; ".join(", ".join(f"{value:g}" for value in row) for row in K.round(2))),
        ("picture", f"{width} x {height} px"),
        ("wrist", f"x {x:.1f}, y {y:.1f}, z {z:.1f} cm (right, down, away)"),
        ("translation", f"{_listing(entry['translation'], 4)} m"),
        ("sigma, mm" + calibrated, ", ".join(f"{k} {v:.1f}" for k, v in fingers.items())),
        ("betas", _listing(entry["betas"], 2)),
    ]


def _listing(values: Iterable[float], digits: int) -> str:
    return ", ".join(f"{float(value):.{digits}f}" for value in values)


def _item(output: Path, name: str, picture: str, hands: _Hands) -> str:
    """A picture's entry in the list: its button, and what is shown when it is pressed."""
    drawn = _read(output / f"{name}{OVERLAY}")
    mesh = _read(output / f"{name}.glb")
    image = _picture(picture, drawn)
    if not hands.cards:
        alt = "no hand was found"
    elif drawn is None:
        alt = "its overlay is no longer beside this page"
    else:
        kinds = ", ".join(
            f"{len(list(same))} {side}" for side, same in itertools.groupby(sorted(hands.sides))
        )
        alt = f"hands drawn over the photo: {kinds}"
    shown = {
        "title": Path(picture).name,
        "folder": str(Path(picture).parent),
        "alt": alt,
        "overlay": None if image is None or not hands.cards else _jpeg(image, SHOWN),
        "glb": None if mesh is None else base64.b64encode(mesh).decode(),
        "file": f"{name}.glb",
        "hands": hands.cards,
    }
    thumbnail = '<span class="blank"></span>'
    if image is not None:
        source = f"data:image/jpeg;base64,{_jpeg(image, THUMBNAIL)}"
        thumbnail = f'<img loading="lazy" decoding="async" alt="{html.escape(alt)}" src="{source}">'
    # In JSON a < may be written so, and nothing in it can then end the script.
    data = orjson.dumps(shown).decode().replace("<", "\\u003c")
    kind = "" if mesh is not None else ' class="empty"'
    return (
        f'<li><button type="button"{kind}>{thumbnail}<bdi>{html.escape(Path(picture).name)}</bdi>'
        f'</button>\n<script type="application/json">{data}</script></li>\n'
    )


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _picture(path: str, drawn: bytes | None) -> np.ndarray | None:
    """The overlay, else the photograph, else None where neither can be read any more."""
    try:
        return read_image(path) if drawn is None else decode_image(drawn, path)
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
