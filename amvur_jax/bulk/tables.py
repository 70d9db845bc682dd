"""The two tables of a bulk run, hands and pictures, a Parquet file of each for each partition."""

from __future__ import annotations

import contextlib
import math
import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from amvur_jax.hands.hand import Hand

HANDS, PICTURES, WORKING = "hands", "pictures", "working"  # folders

# Of a hand's arrays; in the table the numbers of each lie in a row, the last axis fastest.
SHAPES: dict[str, tuple[int, ...]] = {
    "box": (4,),
    "K": (3, 3),
    "vertices_cam": (778, 3),
    "joints_cam": (21, 3),
    "joints_px": (21, 2),
    "landmarks_px": (21, 2),
    "wrist_rotation": (3,),
    "finger_pose": (15, 3),
    "finger_pose_from_mean": (15, 3),
    "betas": (10,),
    "translation": (3,),
    "joints_sigma_mm": (21,),
    "vertices_sigma_mm": (778,),
}
_OF_HAND = {
    "side": pa.string(),
    "score": pa.float32(),
    "focal_source": pa.string(),
    "refined": pa.bool_(),
    "sigma_calibrated": pa.bool_(),
    **{n: pa.list_(pa.float32(), math.prod(shape)) for n, shape in SHAPES.items()},
}
HANDS_SCHEMA = pa.schema(
    {
        "picture": pa.string(),
        "index": pa.int32(),
        "image_size": pa.list_(pa.int32(), 2),
        "frame": pa.int32(),
        "time_s": pa.float64(),
        "track": pa.int32(),
        **_OF_HAND,
    }
)
PICTURES_SCHEMA = pa.schema(
    {
        "picture": pa.string(),
        "hands": pa.int32(),
        "frames": pa.int32(),
        "tracks": pa.int32(),
        "remark": pa.string(),
        "error": pa.string(),
    }
)


class Row(NamedTuple):
    """A hand, and of which picture of `size` (width, height) px: which of its hands."""

    picture: str
    place: int
    size: tuple[int, int]
    hand: Hand
    frame: int = 0
    time_s: float = 0.0
    track: int | None = None


def hands_batch(rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows of HANDS_SCHEMA: arrays and scores as float32."""
    columns: dict[str, Any] = {
        "picture": [row.picture for row in rows],
        "index": [row.place for row in rows],
        "image_size": [list(row.size) for row in rows],
        "frame": [row.frame for row in rows],
        "time_s": [float(row.time_s) for row in rows],
        "track": [row.place if row.track is None else row.track for row in rows],
    }
    for name in _OF_HAND:
        values = [getattr(row.hand, name) for row in rows]
        if name in SHAPES:
            numbers = np.array(values, np.float32).reshape(len(rows) * math.prod(SHAPES[name]))
            columns[name] = pa.FixedSizeListArray.from_arrays(numbers, math.prod(SHAPES[name]))
        else:
            columns[name] = values
    return pa.RecordBatch.from_pydict(columns, schema=HANDS_SCHEMA)


def file_of(output: Path, kind: str, partition: str) -> Path:
    """A partition's file of HANDS, or of PICTURES, which is written last: then the partition is done."""
    return output / kind / f"{partition}.parquet"


@contextlib.contextmanager
def writing_table(
    output: Path, kind: str, partition: str, schema: pa.Schema
) -> Iterator[pq.ParquetWriter]:
    """A Parquet file to write, which takes its place when the block ends without an exception.

    Until then it is in WORKING, under a name of this process alone: of two workers that do the same
    partition, as where one was thought to be dead, the files are the same.
    """
    owner = f"{socket.gethostname()}-{os.getpid()}"
    partial = output / WORKING / f"{partition}-{kind}-{owner}.parquet"
    try:
        # Floats are hardly ever twice the same: a dictionary of them would be larger than they are.
        words = [field.name for field in schema if field.type == pa.string()]
        with pq.ParquetWriter(partial, schema, use_dictionary=words) as writer:
            yield writer
        os.replace(partial, file_of(output, kind, partition))
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_pictures(output: Path, partition: str, entries: Sequence[Mapping[str, Any]]) -> None:
    """Write a partition's PICTURES, an entry each; what one does not have is null."""
    with writing_table(output, PICTURES, partition, PICTURES_SCHEMA) as writer:
        writer.write_table(pa.Table.from_pylist(list(entries), schema=PICTURES_SCHEMA))


def read_pictures(path: Path) -> list[dict[str, Any]]:
    """The entries of a file of PICTURES.

    Raises:
      OSError, pa.ArrowException: it cannot be read.
    """
    with pq.ParquetFile(path) as file:
        return file.read().to_pylist()
