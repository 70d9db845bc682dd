"""A folder or a zip of pictures -> a folder of photographs with labels that training reads.

What a run has labelled stays: started again it goes on, and a source that has grown is looked at where it
is new. A zip is read in place: no name of its is a path.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import lzma
import re
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any

import PIL.Image
from tqdm import tqdm

from amvur_jax.data.readers.photos import HANDS_JSON as HANDS
from amvur_jax.detect.detector import DetectedHand, Detector
from amvur_jax.detect.label import label_picture
from amvur_jax.detect.tips import finger_ends
from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image
from amvur_jax.files.lock import locked
from amvur_jax.files.whole import explained, write_json, write_whole

REFUSED = "refused.json"
PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
LARGEST = 64 << 20  # bytes of a picture's file; of its pixels Pillow's own limit, 89 million
_SAVED_EVERY = 100  # pictures
# What a file raises that is no picture, and a member of a zip that is damaged, encrypted or oddly compressed.
_UNREADABLE = (
    UserError,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)

# Of a picture: what it is called within the source, and what opens it.
Found = tuple[str, Callable[[], IO[bytes]]]


def label_photos(source: str | Path, output: str | Path, detector: Detector) -> Counter[str]:
    """Label the pictures of one hand each, and put those whose hand passes the check into a folder.

    Args:
      source: a folder, looked through to the bottom, or a zip.
      output: folder for the pictures, as they are, hands.json (amvur_jax.data.readers.photos) and
        refused.json, {name in the source: why}.
      detector: finds the hands.

    Returns:
      how many were "labelled", and how many refused, by cause: those of amvur_jax.detect.label.label_picture,
      "unreadable" and "too large".

    Raises:
      UserError: the source is missing or damaged, the folder holds something else or cannot be written, or no
        picture passed.
    """
    source, output = Path(source), Path(output)
    if output.resolve().is_relative_to(source.resolve()):
        raise UserError(
            f"{output}: lies in {source}, which is looked through; give another --output"
        )
    with _opened(source) as pictures, locked(output / "label_photos.lock"):
        hands, refused = _read_state(source, output)
        known = {hand["source"] for hand in hands} | refused.keys()
        new = [picture for picture in pictures if picture[0] not in known]
        bar = tqdm(new, unit="image", desc="label", dynamic_ncols=True)
        for done, (name, opened) in enumerate(bar, 1):
            data, hand, fault = _label(detector, name, opened)
            if fault is None:
                hands.append(_entry(name, hand))
                with explained(output):
                    write_whole(output / hands[-1]["file"], data)
            else:
                refused[name] = fault
            if done % _SAVED_EVERY == 0 or done == len(new):
                _write_state(source, output, hands, refused)
    counts = Counter({"labelled": len(hands)}) + Counter(refused.values())
    if not hands:
        why = ", ".join(f"{count} {cause}" for cause, count in counts.most_common())
        raise UserError(
            f"{source}: no picture of one hand in it passed the check ({why or 'none there'})"
        )
    return counts


@contextlib.contextmanager
def _opened(source: Path) -> Iterator[list[Found]]:
    """The pictures of a folder or a zip, in the order of their names; a zip stays open meanwhile."""
    if source.is_dir():
        paths = sorted(path for path in source.rglob("*") if _is_picture(path) and path.is_file())
        names = [_printable(path.relative_to(source).as_posix()) for path in paths]
        yield [(name, functools.partial(_open_file, path)) for name, path in zip(names, paths)]
        return
    try:
        archive = zipfile.ZipFile(source)
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{source}: is neither a folder nor a zip that can be read ({error})"
        ) from None
    with archive:
        names = sorted({n for n in archive.namelist() if _is_picture(PurePosixPath(n))})
        yield [(name, functools.partial(archive.open, name)) for name in names]


def _open_file(path: Path) -> IO[bytes]:
    return open(path, "rb")


def _printable(name: str) -> str:
    """The name, whatever bytes the file system has for it."""
    return name.encode(errors="backslashreplace").decode()


def _is_picture(path: Path | PurePosixPath) -> bool:
    # What begins with a dot is a Mac's note about the file of that name.
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def _label(
    detector: Detector, name: str, opened: Callable[[], IO[bytes]]
) -> tuple[bytes, Any, str | None]:
    """The picture's bytes, its DetectedHand, and what is wrong with it."""
    try:
        with opened() as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST or _has_too_many_pixels(data):
            return b"", None, "too large"
        image = decode_image(data, name)
    except _UNREADABLE:
        return b"", None, "unreadable"
    return data, *label_picture(detector, image)


def _has_too_many_pixels(data: bytes) -> bool:
    """Whether a picture's head tells of more pixels than Pillow believes in; nothing is decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            PIL.Image.open(io.BytesIO(data)).close()
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            return True
    return False


def _entry(name: str, hand: DetectedHand) -> dict[str, Any]:
    """What hands.json says of a picture: in a file of our own naming, whatever the source calls it."""
    path = PurePosixPath(name)
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", path.stem)[-60:]
    digest = hashlib.sha256(name.encode()).hexdigest()[:12]
    return {
        "file": f"{plain}-{digest}{path.suffix.lower()}",
        "hand": hand.side,
        "box": hand.box.round(2).tolist(),
        "joints": finger_ends(hand.joints_px).round(2).tolist(),
        "source": name,
    }


def _read_state(source: Path, output: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What an earlier run left: the entries of hands.json, and the causes of refused.json."""
    path = output / REFUSED
    if not path.exists():
        if (output / HANDS).exists():
            raise UserError(f"{output}: has a {HANDS} of somebody else's; give another --output")
        return [], {}
    try:
        state = json.loads(path.read_bytes())
        same, refused = state["labelled"] == source.name, dict(state["refused"])
        hands = json.loads((output / HANDS).read_bytes()) if (output / HANDS).exists() else []
        known = [hand["source"] for hand in hands]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read, or not {HANDS} beside it ({error}); delete the folder to start anew"
        ) from None
    if not same or not all(isinstance(name, str) for name in [*known, *refused.values()]):
        raise UserError(f"{output}: has the labels of {state['labelled']!r}; give another --output")
    return hands, refused


def _write_state(
    source: Path, output: Path, hands: list[dict[str, Any]], refused: dict[str, str]
) -> None:
    write_json(output / REFUSED, {"labelled": source.name, "refused": refused})
    if hands:
        with explained(output):
            lines = ",\n".join(json.dumps(hand) for hand in hands)
            write_whole(output / HANDS, f"[\n{lines}\n]\n".encode())
