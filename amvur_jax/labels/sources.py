"""What a user wants labelled, as sequences: videos, and the pictures of each folder, also of a zip.

A zip is read in place: no name of its is a path, and no size of its is believed.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import lzma
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import PIL.Image

from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image
from amvur_jax.files.names import text_of
from amvur_jax.files.video import is_video

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".avif")
LARGEST = 64 << 20  # bytes of a picture's file; of its pixels Pillow's own limit, 89 million
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


class Source(NamedTuple):
    """A sequence: its name; the video, or pictures in order; and the size by which a change is told."""

    name: str
    video: Path | None
    pictures: list[Found]
    size: int


@contextlib.contextmanager
def opened(inputs: Sequence[str | Path], output: Path) -> Iterator[list[Source]]:
    """The sequences of videos, folders and zips; zips stay open meanwhile.

    Raises:
      UserError: one is none of these, damaged, or holds the output or nothing; or two have one name.
    """
    with contextlib.ExitStack() as stack:
        found: list[Source] = []
        for path in map(Path, inputs):
            if output.resolve().is_relative_to(path.resolve()):
                raise UserError(
                    f"{output}: lies in {path}, which is looked through; give another --output"
                )
            here = _sequences(path, stack)
            if not here:
                raise UserError(f"{path}: holds no video and no picture ({', '.join(PICTURES)})")
            found += here
        names = [source.name for source in found]
        for name in names:
            if names.count(name) > 1:
                raise UserError(f"--input: two of them are called {name}; rename one")
        yield found


def _sequences(path: Path, stack: contextlib.ExitStack) -> list[Source]:
    if path.is_dir():
        name = path.resolve().name
        files = sorted(p for p in path.rglob("*") if not p.name.startswith(".") and p.is_file())
        videos = [_video(p, f"{name}/{p.relative_to(path)}") for p in files if is_video(p)]
        pictures: list[Found] = [
            (text_of(p.relative_to(path).as_posix()), functools.partial(_open, p))
            for p in files
            if is_picture(p)
        ]
        return videos + _by_folder(name, pictures)
    if is_video(path):
        return [_video(path, path.name)]
    try:
        archive = stack.enter_context(zipfile.ZipFile(path))
    except (OSError, zipfile.BadZipFile) as error:
        raise UserError(
            f"{path}: is no video, no folder and no zip that can be read ({error})"
        ) from None
    names = sorted({n for n in archive.namelist() if is_picture(PurePosixPath(n))})
    return _by_folder(path.name, [(n, functools.partial(archive.open, n)) for n in names])


def _video(path: Path, name: str) -> Source:
    if not path.is_file():
        raise UserError(f"{path}: there is no such video; check the path")
    return Source(_plain(name), path, [], path.stat().st_size)


def _by_folder(name: str, pictures: Sequence[Found]) -> list[Source]:
    groups: dict[str, list[Found]] = {}
    for found in pictures:
        groups.setdefault(_plain(f"{name}/{PurePosixPath(found[0]).parent}"), []).append(found)
    return [Source(name, None, group, len(group)) for name, group in groups.items()]


def _plain(name: str) -> str:
    """A sequence's name: any letters and digits, on one line, `.` and `..` left out."""
    parts = [
        re.sub(r"[^\w.-]+", "_", p) for p in text_of(name).split("/") if p not in ("", ".", "..")
    ]
    return "/".join(parts)[-200:]


def is_picture(path: Path | PurePosixPath) -> bool:
    """Whether a file is a picture, by its name."""
    # What begins with a dot is a Mac's note about the file of that name.
    return path.suffix.lower() in PICTURES and not path.name.startswith(".")


def _open(path: Path) -> IO[bytes]:
    return open(path, "rb")


def read_picture(found: Found) -> tuple[bytes, np.ndarray | None, str]:
    """A picture's bytes, (H, W, 3) uint8 RGB or None, and what is wrong: "unreadable" or "too large"."""
    name, opens = found
    try:
        with opens() as file:
            data = file.read(LARGEST + 1)
        if len(data) > LARGEST or _has_too_many_pixels(data):
            return b"", None, "too large"
        return data, decode_image(data, name), ""
    except _UNREADABLE:
        return b"", None, "unreadable"


def file_name(name: str, suffix: str) -> str:
    """A file's or a folder's name of our own, whatever the source calls it."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", PurePosixPath(name).stem)[-60:]
    return f"{stem}-{hashlib.sha256(name.encode()).hexdigest()[:12]}{suffix}"


def _has_too_many_pixels(data: bytes) -> bool:
    """Whether a picture's head tells of more pixels than Pillow believes in; nothing is decoded."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
        try:
            PIL.Image.open(io.BytesIO(data)).close()
        except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError):
            return True
    return False
