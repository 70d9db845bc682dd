"""From a user's download to records: checked, converted, in shards, by several processes.

Everything is written into OUTPUT.partial, each shard in one step, and the folder is renamed when it
is whole: an interrupted build is gone on with by the same command, and no reader takes it for a set.
"""

from __future__ import annotations

import collections
import concurrent.futures
import dataclasses
import itertools
import json
import multiprocessing
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from tqdm import tqdm

from amvur_jax.data.augment import GEOMETRIC, Augmentation
from amvur_jax.data.crop import JITTER_SIGMAS, SHOWN, SIDE_RANGE, crop_box, unit
from amvur_jax.data.frame import Dataset, Frame
from amvur_jax.data.frame_checks import mesh_error_mm, problem
from amvur_jax.data.open import open_dataset, splits_of
from amvur_jax.data.readers import records
from amvur_jax.data.readers.kinematics import KinematicChain, hand_id
from amvur_jax.data.readers.records import SUMMARY, UNFINISHED
from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_whole, writing

if TYPE_CHECKING:
    from multiprocessing.sharedctypes import Synchronized

    from mano_jax import HandModel

# What a set is good for unless the flags say otherwise: any turn, and crops a fifth larger.
REACH = Augmentation(jitter_px=5.0, rotation=180.0, scale=0.2, shift=0.0)
_BLOCK = 16  # px: JPEG's own blocks
_PROBES = 16


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a set is built.

    Attributes:
      lossless: keep the files as they are; else a JPEG of the region that crops can need.
      quality: of that JPEG, 1 to 100.
      reach: the Augmentation whose crops must fit into the region.
      shard_frames: frames of one shard.
      strict: stop at the first frame that is not as it should be, rather than leave it out.
      masks: keep what is seen of the hand of each training frame too (Frame.visible).
    """

    lossless: bool = False
    quality: int = 90
    reach: Augmentation = REACH
    shard_frames: int = 1024
    strict: bool = False
    masks: bool = False


def build(
    layout: str,
    source: str | Path,
    output: str | Path,
    hand: HandModel,
    settings: Settings = Settings(),
    workers: int = 0,
) -> dict[str, dict[str, Any]]:
    """Build all splits of a data set.

    Args:
      layout: a key of amvur_jax.data.layouts.LAYOUTS, which the source must be.
      source: folder of the official data set.
      output: folder to make.
      hand: the mano_jax.HandModel of the labels.
      settings: Settings.
      workers: processes; 0 = one per core, 1 = this one.

    Returns:
      {split: {"frames": N, "skipped": [{"name", "reason"}]}}, which output/report.json holds too.

    Raises:
      UserError: the source is another data set or of another hand model, the output exists, or,
        where strict, a frame is not as it should be.
    """
    output = Path(output)
    if (Path(source) / SUMMARY).is_file():
        raise UserError(f"--source={source}: is built already; give the official data set")
    datasets = {
        split: open_dataset(source, split, hand, masks=settings.masks)
        for split in splits_of(source)
    }
    for dataset in datasets.values():
        if dataset.layout != layout:
            raise UserError(f"{source}: is {dataset.layout}, not --dataset={layout}")
    chain = KinematicChain(hand)
    if "train" in datasets:
        _check_hand(datasets["train"], chain, hand)
        if settings.masks:
            _check_masks(datasets["train"])
    settings.reach.check("--reach")
    partial = output.with_name(output.name + ".partial")
    try:
        _claim(output, partial, layout, datasets, hand, settings)
        report = {}
        for split, dataset in datasets.items():
            _build_shards(partial, dataset, chain, settings, workers)
            report[split] = _finish_split(partial, dataset, settings)
        _publish(partial, output, layout, hand, settings, report)
    except OSError as error:
        raise UserError(f"{output}: cannot be written: {error}") from error
    return report


def region(frame: Frame, reach: Augmentation) -> tuple[int, int, int, int]:
    """The part of the picture that any crop of an augmentation within `reach` can show.

    Args:
      frame: a Frame.
      reach: an Augmentation.

    Returns:
      x1, y1, x2, y2, whole pixels.
    """
    width, height = frame.size
    centre, side, usable = crop_box(frame.box, frame.size)
    if not usable:
        return 0, 0, width, height
    # The jitter moves the centre and widens the square, which then grows, turns and is shifted.
    pixel = unit(frame.size)
    jitter = JITTER_SIGMAS * reach.jitter_px * pixel
    side = min(side + SHOWN * 4 * jitter, SHOWN * SIDE_RANGE[1] * pixel) * (1 + reach.scale)
    angle = np.deg2rad(min(reach.rotation, 45.0))
    radius = side / 2 * (np.cos(angle) + np.sin(angle)) + jitter + side * reach.shift
    # What the filter of a smaller picture reaches beyond the crop.
    radius += 2 + 4 * side / 224
    low = np.floor((centre - radius) / _BLOCK) * _BLOCK
    high = np.ceil((centre + radius) / _BLOCK) * _BLOCK
    x1, y1 = np.maximum(low, 0).astype(int)
    x2, y2 = np.minimum(high, (width, height)).astype(int)
    return int(x1), int(y1), int(x2), int(y2)


def stored(frame: Frame, path: Path, settings: Settings) -> tuple[Frame, bytes]:
    """A frame as it is stored.

    Args:
      frame: a Frame as read.
      path: the file of its picture.
      settings: Settings.

    Returns:
      the Frame with its origin, and the bytes of its encoded image.
    """
    if settings.lossless:
        return frame, path.read_bytes()
    x1, y1, x2, y2 = region(frame, settings.reach)
    if (x2 - x1, y2 - y1) == tuple(frame.size) and path.suffix == ".jpg":
        return frame, path.read_bytes()
    part = np.ascontiguousarray(frame.image[y1:y2, x1:x2, ::-1])
    _, data = cv2.imencode(".jpg", part, [cv2.IMWRITE_JPEG_QUALITY, settings.quality])
    kept = dataclasses.replace(
        frame,
        image=frame.image[y1:y2, x1:x2],
        visible=None if frame.visible is None else frame.visible[y1:y2, x1:x2],
        origin=(x1, y1),
        full_size=frame.size,
    )
    return kept, data.tobytes()


def _check_hand(dataset: Dataset, chain: KinematicChain, hand: HandModel) -> None:
    """Tell a wrong hand model from wrong frames before an hour of skipping all of them."""
    errors_mm = []
    for i in _probes(dataset):
        try:
            errors_mm.append(mesh_error_mm(dataset.frame(i), chain))
        except UserError:
            continue
    if errors_mm and np.median(errors_mm) > 5:
        raise UserError(
            f"{dataset.root}: its joints are {np.median(errors_mm):.0f} mm from those of its MANO "
            f"parameters in the hand model {hand.name!r}; give the model of its labels, "
            "--hand=MANO_RIGHT.pkl"
        )


def _check_masks(dataset: Dataset) -> None:
    """Tell a tree without any before all of its frames are built without."""
    for i in _probes(dataset):
        try:
            known = dataset.frame(i).visible is not None
        except UserError:
            continue
        if not known:
            raise UserError(
                f"--masks: {dataset.root} has neither depth pictures nor masks of its training frames; copy "
                "them from the download, or build without"
            )


def _probes(dataset: Dataset) -> list[int]:
    return np.unique(np.linspace(0, len(dataset) - 1, _PROBES).astype(int)).tolist()


def _claim(
    output: Path,
    partial: Path,
    layout: str,
    datasets: Mapping[str, Dataset],
    hand: HandModel,
    settings: Settings,
) -> None:
    """Make the folder ours, or find that it is; touch nothing that is not."""
    if output.exists():
        raise UserError(
            f"--output={output}: exists; give a new folder, or remove it to build again"
        )
    plan = {
        "version": records.VERSION,
        "layout": layout,
        "hand": hand_id(hand),
        "settings": dataclasses.asdict(dataclasses.replace(settings, strict=False)),
        "frames": {split: len(dataset) for split, dataset in datasets.items()},
    }
    text = json.dumps(plan, indent=1) + "\n"
    marker = partial / UNFINISHED
    if partial.exists() and not (marker.is_file() and marker.read_text() == text):
        raise UserError(
            f"{partial}: holds a build that was begun with other arguments; repeat those to finish "
            "it, or remove it"
        )
    (partial / "done").mkdir(parents=True, exist_ok=True)
    write_whole(marker, text.encode())


def _shards(dataset: Dataset, settings: Settings) -> list[range]:
    """The frames of each shard."""
    count = -(-len(dataset) // settings.shard_frames)
    bounds = np.linspace(0, len(dataset), count + 1).astype(int)
    return [range(a, b) for a, b in itertools.pairwise(bounds)]


def _build_shards(
    partial: Path, dataset: Dataset, chain: KinematicChain, settings: Settings, workers: int
) -> None:
    shards = _shards(dataset, settings)
    waiting = [n for n in range(len(shards)) if not _done_path(partial, dataset, n).is_file()]
    total = len(dataset)
    ready = total - sum(len(shards[n]) for n in waiting)
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    workers = min(workers or os.cpu_count() or 1, max(1, len(waiting)))
    bar = tqdm(total=total, initial=ready, unit="frame", desc=dataset.split, dynamic_ncols=True)
    if workers == 1:
        _begin(partial, dataset, chain, settings, counter)
        with bar:
            for n in waiting:
                _build_shard(n)
                bar.update(len(shards[n]))
        return
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, context, _begin, (partial, dataset, chain, settings, counter)
    )
    jobs = []
    try:
        with bar:
            jobs = [pool.submit(_build_shard, n) for n in waiting]
            left = set(jobs)
            while left:
                done, left = concurrent.futures.wait(left, 0.2, concurrent.futures.FIRST_EXCEPTION)
                bar.update(ready + counter.value - bar.n)
                for job in done:
                    job.result()
    finally:
        pool.shutdown(cancel_futures=True)


_WORK: dict[str, Any] = {}  # of one process of the pool


def _begin(
    partial: Path,
    dataset: Dataset,
    chain: KinematicChain,
    settings: Settings,
    counter: Synchronized[int],
) -> None:
    cv2.setNumThreads(1)  # the processes are the parallelism
    _WORK.update(partial=partial, dataset=dataset, chain=chain, settings=settings, counter=counter)


def _build_shard(number: int) -> None:
    dataset, settings = _WORK["dataset"], _WORK["settings"]
    shards = _shards(dataset, settings)
    kept, skipped = [], []

    def encoded() -> Iterator[bytes]:
        for i in shards[number]:
            try:
                frame = dataset.frame(i)
                reason = problem(frame, _WORK["chain"])
                if reason:
                    raise UserError(f"{dataset.root}: {frame.name}: {reason}")
            except UserError as error:
                if settings.strict:
                    raise
                skipped.append({"name": dataset.names[i], "reason": str(error)})
            else:
                kept.append(i)
                kept_frame, data = stored(frame, dataset.image_path(i), settings)
                yield records.encode(kept_frame, data, settings.masks)
            with _WORK["counter"].get_lock():
                _WORK["counter"].value += 1

    path = _WORK["partial"] / records.shard_name(dataset.layout, dataset.split, number, len(shards))
    part = path.with_name(path.name + ".part")
    records.write_shard(part, encoded())
    os.replace(part, path)
    # The note comes last: a shard that has it is whole.
    note = json.dumps({"kept": kept, "skipped": skipped})
    write_whole(_done_path(_WORK["partial"], dataset, number), note.encode())


def _done_path(partial: Path, dataset: Dataset, number: int) -> Path:
    return partial / "done" / f"{dataset.split}-{number:05d}.json"


def _finish_split(partial: Path, dataset: Dataset, settings: Settings) -> dict[str, Any]:
    shards = _shards(dataset, settings)
    notes = [json.loads(_done_path(partial, dataset, n).read_text()) for n in range(len(shards))]
    kept = [i for note in notes for i in note["kept"]]
    skipped = [entry for note in notes for entry in note["skipped"]]
    if not kept:
        raise UserError(
            f"{dataset.root}: no frame of {dataset.split} is as it should be; the first: "
            f"{skipped[0]['reason']}"
        )
    names = "".join(f"{dataset.names[i]}\n" for i in kept)
    write_whole(partial / f"{dataset.split}_names.txt", names.encode())
    if dataset.ground_truth:
        for kind, truth in zip(("joints", "vertices"), dataset.ground_truth):
            with writing(partial / f"{dataset.split}_{kind}.npy") as file:
                np.save(file, truth[kept])
    lengths = [len(note["kept"]) for note in notes]
    return {"frames": len(kept), "skipped": skipped, "lengths": lengths}


def _publish(
    partial: Path,
    output: Path,
    layout: str,
    hand: HandModel,
    settings: Settings,
    report: dict[str, dict[str, Any]],
) -> None:
    splits = {}
    for split, entry in report.items():
        lengths = entry.pop("lengths")
        names = [records.shard_name(layout, split, n, len(lengths)) for n in range(len(lengths))]
        splits[split] = lengths, sum((partial / name).stat().st_size for name in names)
    records.write_info(partial, layout, splits, settings.masks)
    write_whole(partial / records.REPORT, (json.dumps(report, indent=1) + "\n").encode())
    shutil.rmtree(partial / "done")
    for leftover in partial.glob("*.part"):
        leftover.unlink()
    marker = partial / UNFINISHED
    files = {p.name: p.stat().st_size for p in sorted(partial.iterdir()) if p != marker}
    summary = {
        "version": records.VERSION,
        "layout": layout,
        "hand": hand_id(hand),
        "lossless": settings.lossless,
        "masks": settings.masks,
        "reach": {name: getattr(settings.reach, name) for name in GEOMETRIC},
        "splits": {split: entry["frames"] for split, entry in report.items()},
        "files": files,
    }
    write_whole(partial / SUMMARY, (json.dumps(summary, indent=1) + "\n").encode())
    marker.unlink()
    os.replace(partial, output)


def summary_text(report: Mapping[str, Mapping[str, Any]]) -> str:
    """What was built and what was left out, with one example of each reason."""
    lines = []
    for split, entry in report.items():
        skipped = entry["skipped"]
        lines.append(f"{split}: {entry['frames']} frames, {len(skipped)} skipped")
        kinds = collections.defaultdict(list)
        for frame in skipped:
            # The same but for names and numbers.
            kinds[re.sub(r"\S*[\d/]\S*", "", frame["reason"])].append(frame["reason"])
        for reasons in sorted(kinds.values(), key=len, reverse=True):
            lines.append(f"  {len(reasons)} like {reasons[0]}")
        if split == "evaluation" and skipped:
            lines.append("  predictions of this set are no whole submission to the challenge")
    return "\n".join(lines)
