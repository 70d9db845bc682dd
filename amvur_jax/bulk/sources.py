"""What a bulk run reads, and how it is cut into partitions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image, read_image
from amvur_jax.files.names import text_of
from amvur_jax.files.video import is_video
from amvur_jax.hands.pictures import find_pictures

COLUMNS = ("picture", "path")  # of a Parquet file of paths: the first that it has
_TFDS = "dataset_info.json"


class Source(NamedTuple):
    """A picture or a video.

    name: what the results call it, valid UTF-8. path: absolute, for workers have other working directories;
    of a record the folder of its data set, with its split and its number there.
    """

    name: str
    path: Path
    split: str = ""
    number: int = -1

    @property
    def is_video(self) -> bool:
        """Whether it is a video, by its name."""
        return not self.split and is_video(self.path)

    def read(self) -> np.ndarray:
        """The picture, (H, W, 3) uint8 RGB.

        Raises:
          UserError: it cannot be read.
        """
        if not self.split:
            return read_image(self.path)
        from amvur_jax.data.readers.records import encoded_image  # TFDS is slow to import

        return decode_image(encoded_image(self.path, self.split, self.number), self.name)


class Partition(NamedTuple):
    """Sources whose hands become one file, or a video; its name says which they are."""

    name: str
    sources: tuple[Source, ...]


def find_sources(text: str, listed: Iterable[str] = ()) -> list[Source]:
    """The sources of an --input, each once, in order.

    Args:
      text: as of `find_pictures`; or, between commas, Parquet files of paths and folders of TFDS records.
      listed: lines, a path each, of standard input.
    Raises:
      UserError: there is none, or a file or folder of them cannot be read.
    """
    found: dict[Source, None] = {}
    for word in [text] if Path(text).exists() else [word for word in text.split(",") if word]:
        if word.endswith(".parquet"):
            sources: Iterable[Source] = map(_of_path, _paths_in(Path(word)))
        elif (Path(word) / _TFDS).is_file():
            sources = _records(Path(word))
        else:
            sources = map(_of_path, find_pictures(word, listed).paths)
        found |= dict.fromkeys(sources)
    if not found:
        raise UserError(f"--input={text}: there is no picture and no video")
    return list(found)


def _of_path(path: Path) -> Source:
    return Source(text_of(path), path.absolute())


def _paths_in(file: Path) -> Iterator[Path]:
    try:
        with pq.ParquetFile(file) as table:
            columns = [name for name in COLUMNS if name in table.schema_arrow.names]
            if not columns:
                raise UserError(
                    f"{file}: has no column {' or '.join(COLUMNS)} of paths; it has "
                    f"{', '.join(table.schema_arrow.names)}"
                )
            number = 0
            for batch in table.iter_batches(columns=columns[:1]):
                for value in batch.column(0).to_pylist():
                    if not (value and isinstance(value, str)):
                        raise UserError(
                            f"{file}: row {number} of the column {columns[0]} is {value!r}; give a path, "
                            "as text"
                        )
                    number += 1
                    yield Path(value)
    except (OSError, pa.ArrowException) as error:
        raise UserError(f"{file}: is no Parquet file that can be read ({error})") from error


def _records(folder: Path) -> Iterator[Source]:
    from amvur_jax.data.readers.records import encoded_splits

    for split, count in encoded_splits(folder).items():
        for number in range(count):
            name = f"{text_of(folder)}#{split}/{number}"
            yield Source(name, folder.absolute(), split, number)


def partitions(sources: Sequence[Source], size: int) -> list[Partition]:
    """The sources in partitions: `size` pictures each, in order, and each video by itself."""
    pictures = [source for source in sources if not source.is_video]
    slices = [tuple(pictures[i : i + size]) for i in range(0, len(pictures), size)]
    slices += [(source,) for source in sources if source.is_video]
    return [Partition(_name(part), part) for part in slices]


def _name(sources: Iterable[Source]) -> str:
    names = "".join(f"{source.name}\0" for source in sources)
    return hashlib.sha256(names.encode()).hexdigest()[:16]
