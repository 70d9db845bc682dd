"""Built data sets: ArrayRecord shards that TensorFlow Datasets describes, without TensorFlow.

A folder holds, for each split, the shards and SPLIT_names.txt; evaluation_joints.npy and
evaluation_vertices.npy where there is ground truth; TFDS's dataset_info.json and features.json; and
records.json, which is written last. `tfds.builder_from_directory(DIR).as_data_source(SPLIT)` reads it
too: `image` is the encoded file, `labels` the float64 numbers of LABELS end to end, NaN where absent, and
`visible`, in a set that was built with masks, Frame.visible as a PNG.
"""

import dataclasses
import functools
import json
import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from amvur_jax.data.augment import Augmentation
from amvur_jax.data.frame import Frame
from amvur_jax.data.readers.ground_truth import Holder
from amvur_jax.data.readers.ho3d import moments_of
from amvur_jax.data.readers.kinematics import hand_id
from amvur_jax.errors import UserError
from amvur_jax.files.image import decode_image
from amvur_jax.files.places import is_url, place
from mano_jax import HandModel, load_hand
from mano_jax.errors import MALFORMED

SUMMARY, REPORT, UNFINISHED = "records.json", "report.json", "building.json"
VERSION = 1
LABELS = {
    "K": (3, 3),
    "box": (4,),
    "origin": (2,),
    "full_size": (2,),
    "left": (),
    "wrist_cam": (3,),
    "joints_cam": (21, 3),
    "joints_px": (21, 2),
    "pose": (48,),
    "betas": (10,),
    "trans": (3,),
    "root_cam": (3,),
}
_COUNTS = [int(np.prod(shape)) for shape in LABELS.values()]
_ENDS = np.cumsum(_COUNTS).tolist()
_PLACES = {n: slice(end - k, end) for n, k, end in zip(LABELS, _COUNTS, _ENDS)}
_OPTIONAL = ("wrist_cam", "joints_cam", "joints_px", "pose", "betas", "trans", "root_cam")


@functools.cache
def features(masks: bool = False) -> tfds.features.FeaturesDict:
    """The fields of a record, as TFDS knows them."""
    fields = {"visible": tfds.features.Image(shape=(None, None, 1))} if masks else {}
    return tfds.features.FeaturesDict(
        {
            **fields,
            "name": tfds.features.Text(),
            "image": tfds.features.Image(shape=(None, None, 3)),
            # As bytes: TFDS's number lists are float32, and slower.
            "labels": tfds.features.Tensor(
                shape=(sum(_COUNTS),), dtype=np.float64, encoding=tfds.features.Encoding.BYTES
            ),
        }
    )


def encode(frame: Frame, image_bytes: bytes, masks: bool = False) -> bytes:
    """One record.

    Args:
      frame: a Frame; its `image` is what image_bytes decode to, from its origin on.
      image_bytes: an encoded PNG or JPEG.
      masks: with `visible`, a PNG of the image's size; white where the frame has none.

    Returns:
      bytes.
    """
    values: dict[str, Any] = {name: getattr(frame, name, None) for name in LABELS}
    values |= {"full_size": frame.size, "left": float(frame.side == "left")}
    parts = [
        np.full(count, np.nan) if values[name] is None else np.ravel(values[name])
        for name, count in zip(LABELS, _COUNTS)
    ]
    labels = np.concatenate(parts).astype(np.float64)
    record = {"name": frame.name, "image": image_bytes, "labels": labels}
    if masks:
        shape = frame.image.shape[:2]
        visible = np.ones(shape, bool) if frame.visible is None else frame.visible
        bilevel = [cv2.IMWRITE_PNG_BILEVEL, 1]
        record["visible"] = cv2.imencode(".png", 255 * visible.astype(np.uint8), bilevel)[
            1
        ].tobytes()
    return features(masks).serialize_example(record)


def decode(record: Mapping[str, Any], index: int, masks: bool = False) -> Frame:
    """The Frame of one record, with `visible` where asked, as TFDS gives it with its images still encoded."""
    name = record["name"].decode()
    labels = record["labels"]
    values = {n: labels[_PLACES[n]].reshape(shape) for n, shape in LABELS.items()}
    for field in _OPTIONAL:
        if math.isnan(labels[_PLACES[field].start]):
            values[field] = None
    side = "left" if values.pop("left") else "right"
    (x, y), (width, height) = (map(int, values.pop(n).tolist()) for n in ("origin", "full_size"))
    image = decode_image(record["image"], name)
    if masks:
        values["visible"] = decode_image(record["visible"], name)[..., 0] > 127
    return Frame(
        name=name,
        index=index,
        image=image,
        side=side,
        origin=(x, y),
        full_size=(width, height),
        **values,
    )


def shard_name(layout: str, split: str, shard: int, shards: int) -> str:
    """The file of one shard."""
    return f"{layout}-{split}.array_record-{shard:05d}-of-{shards:05d}"


def write_shard(path: Path, records: Iterable[bytes]) -> None:
    """Write one shard: records in any number, each found without reading the others."""
    writer = ArrayRecordWriter(str(path), "group_size:1")
    try:
        for record in records:
            writer.write(record)
    finally:
        writer.close()


def write_info(
    folder: Path, layout: str, splits: Mapping[str, tuple[list[int], int]], masks: bool
) -> None:
    """Write TFDS's description of a folder of shards.

    Args:
      folder: the folder.
      layout: a layout of amvur_jax.data.open, which is TFDS's name of the data set.
      splits: {split: (lengths of its shards, their bytes)}.
      masks: of the records.
    """
    infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=lengths,
            num_bytes=size,
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=layout, data_dir=folder, split=split, filetype_suffix="array_record"
            ),
        )
        for split, (lengths, size) in splits.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder, features=features(masks), split_infos=infos, check_data=False
    )


class Records(Holder):
    """The frames of one split of a built data set, read on demand.

    Args:
      root: the folder that build_dataset.py wrote, or its URL: shards of gs:// are read in place, those of
        other stores are held in memory by each process that reads.
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel that the set must have been built with; None = the embedded one.
      masks: frames of the training split are to have `visible`.

    Raises:
      UserError: the folder is incomplete or damaged, lacks the split, or is of another hand model.
    """

    def __init__(
        self,
        root: str | Path,
        split: str = "train",
        hand: HandModel | None = None,
        masks: bool = False,
    ) -> None:
        self.root, self.split = place(root), split
        summary = read_summary(self.root)
        self.layout = summary["layout"]
        self.reach = None if summary["lossless"] else Augmentation(**summary["reach"])
        if split not in summary["splits"]:
            raise UserError(
                f"{self.root}: was built without the {split} split; build it again from a data set "
                "that has it"
            )
        own = hand_id(load_hand() if hand is None else hand)
        if split == "train" and summary["hand"].rpartition("-")[2] != own:
            raise UserError(
                f"{self.root}: was built with the hand model {summary['hand']}, this run has {own}; "
                "give the same --config.hand, or build again with --hand"
            )
        for file, size in summary["files"].items():
            path = self.root / file
            if not path.is_file() or path.stat().st_size != size:
                raise UserError(
                    f"{path}: is missing or has not the {size} bytes that were written; copy the "
                    "folder again or build it again"
                )
        self._masks = masks and split == "train" and summary.get("masks", False)
        if masks and split == "train" and not self._masks:
            logging.getLogger("absl").warning(
                "%s: was built without masks, so nothing is known of what hides the hands; build again with "
                "--masks, else config.loss.occlusion='labels' is 'robust' for this data set",
                self.root,
            )
        self.names = (self.root / f"{split}_names.txt").read_text().splitlines()
        self._source: Sequence[Mapping[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def frame(self, i: int) -> Frame:
        """Read one frame.

        Args:
          i: position in `names`.

        Returns:
          A Frame whose image may be only the region that crops can need.

        Raises:
          UserError: the record is damaged.
        """
        if self._source is None:
            self._source = _open(self.root, self.split)
        try:
            return decode(self._source[i], i, self._masks)
        except UserError:
            raise
        except Exception as error:
            # Whatever the libraries below say of a damaged shard, it is the file's fault.
            raise UserError(
                f"{self.root}: record {i} of {self.split} cannot be read ({error}); build it again"
            ) from error

    @functools.cached_property
    def ground_truth(self) -> tuple[np.ndarray, np.ndarray] | None:
        """(joints_cam (N, 21, 3), vertices_cam (N, 778, 3)) of the evaluation split, or None."""
        paths = [self.root / f"{self.split}_{kind}.npy" for kind in ("joints", "vertices")]
        if not all(path.is_file() for path in paths):
            return None
        joints, vertices = map(_load, paths)
        return joints, vertices

    endless = False

    @functools.cached_property
    def moments(self) -> list[tuple[str, int]] | None:
        """(sequence, number) of each frame, where the data set has sequences."""
        return moments_of(self.names) if self.layout.startswith("ho3d") else None

    @property
    def left_out(self) -> int:
        """How many frames of the official split building skipped; report.json names them."""
        return len(json.loads((self.root / REPORT).read_text())[self.split]["skipped"])

    def __getstate__(self) -> dict[str, Any]:
        # A reader holds open files: another process opens its own.
        return super().__getstate__() | {"_source": None}


def read_summary(root: Path) -> dict[str, Any]:
    """The summary of a built set.

    Raises:
      UserError: it is damaged or of another version.
    """
    path = root / SUMMARY
    try:
        summary = json.loads(path.read_text())
        fields = {field.name for field in dataclasses.fields(Augmentation)}
        whole = summary["version"] == VERSION and fields >= set(summary["reach"])
        whole = whole and {"layout", "hand", "lossless", "splits", "files"} <= set(summary)
        whole = whole and all(Path(name).name == name for name in summary["files"])
    except (OSError, *MALFORMED) as error:
        raise UserError(f"{path}: is no summary of a built set; build it again") from error
    if not whole:
        raise UserError(f"{path}: is of another version of this project; build it again")
    return summary


def encoded_splits(root: Path) -> dict[str, int]:
    """How many pictures each split of a TFDS folder has, one of ours or another with the feature `image`.

    Raises:
      UserError: it has no such feature, or is none of TFDS's.
    """
    try:
        builder = _builder(root)
    except Exception as error:
        raise UserError(f"{root}: is no folder of TFDS records ({error})") from error
    known = builder.info.features
    if not ("image" in known and isinstance(known["image"], tfds.features.Image)):
        raise UserError(f"{root}: its records have no `image` that is a picture")
    return {name: split.num_examples for name, split in builder.info.splits.items()}


@functools.cache
def _opened(root: Path, split: str) -> Sequence[Mapping[str, Any]]:
    return _open(root, split)


def encoded_image(root: Path, split: str, number: int) -> bytes:
    """The encoded file of a picture of a split, as of `encoded_splits`; a process keeps the split open.

    Raises:
      UserError: it cannot be read.
    """
    try:
        return _opened(root, split)[number]["image"]
    except Exception as error:  # whatever the libraries below say, as of Records
        raise UserError(f"{root}: record {number} of {split} cannot be read ({error})") from error


def _builder(root: Path) -> tfds.core.DatasetBuilder:
    logging.getLogger("absl").setLevel(logging.WARNING)
    return tfds.builder_from_directory(root)


def _load(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        return np.load(file, allow_pickle=False)


def _open(root: Path, split: str) -> Sequence[Mapping[str, Any]]:
    if is_url(root):
        return _Shards(root, split)
    builder = _builder(root)
    pictures = [name for name in ("image", "visible") if name in builder.info.features]
    return builder.as_data_source(
        split, decoders=dict.fromkeys(pictures, tfds.decode.SkipDecoding())
    )


class _Shards(Sequence[Mapping[str, Any]]):
    """The records of a split behind a URL, of a set of ours, decoded as TFDS does but for the pictures."""

    def __init__(self, root: Path, split: str) -> None:
        self._held: list[int] = []
        summary = read_summary(root)
        self._features = features(summary.get("masks", False))
        pictures = [name for name in ("image", "visible") if name in self._features]
        self._decoders = dict.fromkeys(pictures, tfds.decode.SkipDecoding())
        shards = [
            root / name for name in sorted(summary["files"]) if f"-{split}.array_record-" in name
        ]
        in_place = str(root).startswith("gs://")  # the one store that array_record opens itself
        self._source = ArrayRecordDataSource(
            [str(shard) if in_place else self._hold(shard) for shard in shards]
        )

    def _hold(self, shard: Path) -> str:
        """The name of a file in memory with what the shard has."""
        if not hasattr(os, "memfd_create"):
            raise UserError(
                f"{shard}: records of this kind of URL are read on Linux only; use gs://"
            )
        handle = os.memfd_create(shard.name)
        self._held.append(handle)
        with open(handle, "wb", closefd=False) as file:
            file.write(shard.read_bytes())
        return f"/proc/self/fd/{handle}"

    def __del__(self) -> None:
        for handle in self._held:
            os.close(handle)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, i: int) -> Mapping[str, Any]:  # type: ignore[override]
        return self._features.deserialize_example_np(self._source[i], decoders=self._decoders)
