"""Training pictures a second: from a PNG tree, from built records, from the stream of made-up hands.

The first two beside a plain loop over cv2, the stream beside make_synthetic.
"""

import contextlib
import itertools
import json
import multiprocessing
import os
import pathlib
import pickle
import statistics
import subprocess
import sys
import tempfile
import time

import cv2
import numpy as np
from amvur_jax.configs.hand import get_config

from amvur_jax import configuration
from amvur_jax.data.augment import Augmentation
from amvur_jax.data.batches import train_batches
from amvur_jax.data.build_records import Settings, build
from amvur_jax.data.crop import crop_box, crop_matrix
from amvur_jax.data.open import open_dataset
from amvur_jax.data.readers import records
from amvur_jax.data.sample import make_sample
from amvur_jax.data.synthetic.layers import LayerPainter
from amvur_jax.data.synthetic.make import make_synthetic
from amvur_jax.data.synthetic.stream import LAYERS, USES, Stream, Window
from amvur_jax.files.whole import write_json, write_whole
from mano_jax import load_hand

SIZE, BATCH = 224, 32
FRAMES = 66_034  # of HO-3D v2
STRONG = Augmentation(rotation=90.0, scale=0.2, color=0.3, occlusion=0.5)


def run(quick):
    """Yield one row a case."""
    frames = 8 if quick else 96
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        hand = load_hand()
        make_synthetic(folder / "tree", frames, 1, difficulty="wide")
        for name, lossless in (("records", False), ("lossless", True)):
            settings = Settings(lossless=lossless, shard_frames=64)
            build("ho3d_v2", folder / "tree", folder / name, hand, settings)
        sets = {n: open_dataset(folder / n, "train", hand) for n in ("tree", "records", "lossless")}
        yield from _opening(folder, 3000 if quick else FRAMES, 1 if quick else 3)
        yield from _one_core(sets, 3 if quick else 15)
        yield from _stream(folder, hand, *((32, 8, 1) if quick else (LAYERS, 48, 5)))
        full = {name: _Repeated(dataset) for name, dataset in sets.items()}
        yield from _workers(full, (0, 1) if quick else (0, 1, 2), 2 if quick else 30)
        yield from _memory(full["records"], 100 if quick else 10_000)


OPEN = """
import json, os, sys, time
from amvur_jax.data.batches import train_batches
from amvur_jax.data.open import open_training
from ml_collections import ConfigDict

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

began, before = time.perf_counter(), resident()
dataset = open_training(ConfigDict({"root": sys.argv[1], "mix": ()}))
opened = time.perf_counter() - began
batches = train_batches(dataset, 224, 32, seed=0)
next(batches)
took, grown = time.perf_counter() - began, resident() - before
print(json.dumps({"open_s": opened, "first_batch_s": took, "first_batch_mib": grown}))
"""


def _opening(folder, frames, turns):
    """A built set of HO-3D's size, opened by a process of its own: seconds and memory to the first batch.

    Its frames are a few again and again, in shards of 1,024 as build_dataset.py makes them.
    """
    small, large = folder / "records", folder / "large"
    large.mkdir()
    layout = "ho3d_v2"
    lengths = [min(1024, frames - start) for start in range(0, frames, 1024)]
    shards = [
        large / records.shard_name(layout, "train", n, len(lengths)) for n in range(len(lengths))
    ]
    built = open_dataset(small, "train", load_hand())
    raw = [
        records.encode(frame, cv2.imencode(".jpg", frame.image[..., ::-1])[1].tobytes())
        for frame in map(built.frame, range(8))
    ]
    for path, length in zip(shards, lengths):
        if length == lengths[0] and path != shards[0]:
            os.link(shards[0], path)
        else:
            records.write_shard(path, itertools.islice(itertools.cycle(raw), length))
    names = "".join(f"ABF{i // 1000:02}/{i % 1000:04}\n" for i in range(frames))
    write_whole(large / "train_names.txt", names.encode())
    size = sum(path.stat().st_size for path in shards)
    records.write_info(large, layout, {"train": (lengths, size)}, masks=False)
    write_json(large / records.REPORT, {"train": {"skipped": []}})
    summary = json.loads((small / records.SUMMARY).read_text())
    summary["splits"] = {"train": frames}
    summary["files"] = {path.name: path.stat().st_size for path in shards}
    write_json(large / records.SUMMARY, summary)
    found = [
        json.loads(subprocess.check_output([sys.executable, "-c", OPEN, large], text=True))
        for _ in range(turns)
    ]
    median = {name: statistics.median(row[name] for row in found) for name in found[0]}
    yield {"case": f"built set of {frames} frames, opened", **median}


class _Repeated:
    """A few frames as a data set of HO-3D's size: Grain's shuffle is slow for a handful."""

    def __init__(self, dataset):
        self._dataset = dataset
        for name in ("layout", "reach", "left_out", "endless", "split", "names"):
            if hasattr(dataset, name):
                setattr(self, name, getattr(dataset, name))

    def __len__(self):
        return FRAMES

    def frame(self, i):
        return self._dataset.frame(i % len(self._dataset))


def _one_core(sets, repeats):
    """Frames to 224x224 samples in one thread, all kinds in turns, by the processor's own time."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    count = min(24, *map(len, sets.values()))
    rng = np.random.default_rng(0)

    def samples(dataset, augmentation=None):
        arguments = () if augmentation is None else (augmentation,)
        return lambda: [make_sample(dataset.frame(i), SIZE, rng, *arguments) for i in range(count)]

    cases = {"plain cv2 loop": lambda: [_plain(sets["tree"], i) for i in range(count)]}
    cases |= {name: samples(dataset) for name, dataset in sets.items()}
    cases["records, augmented"] = samples(sets["records"], STRONG)
    spent = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, function in cases.items():
            start = time.process_time()
            function()
            if repeat:  # the first opens files
                spent[name].append(time.process_time() - start)
    seconds = {name: statistics.median(values) for name, values in spent.items()}
    cv2.setNumThreads(threads)
    for name, value in seconds.items():
        yield {
            "case": f"one core: {name}",
            "images_core_s": count / value,
            "times_tree": seconds["tree"] / value,
            "times_plain": seconds["plain cv2 loop"] / value,
        }


def _stream(folder, hand, layers, frames, repeats):
    """Crops of the stream as configs/hand.py takes them, and frames of make_synthetic, in turns.

    By the processor's own time of all threads. A crop's has its share of its window in it: `layers` drawn
    once, with the backdrops, for USES frames each.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    config, stream, painter = get_config(), Stream("train", hand, 0, layers), LayerPainter(hand)
    augmentation, scale = configuration.augmentation(config), config.model.crop_scale
    rng, count = (
        np.random.default_rng(0),
        min(512, layers * USES // 2),
    )  # none asks for the next window
    places = (folder / f"made{i}" for i in itertools.count())

    def crops(size):
        for i in range(count):
            make_sample(stream.frame(i), size, rng, augmentation, scale)

    cases = {  # and how many of them there are
        "window": (lambda: Window(painter, (0, 0, 0), layers), layers * USES),
        64: (lambda: crops(64), count),
        96: (lambda: crops(96), count),
        "make_synthetic": (
            lambda: make_synthetic(next(places), frames, 1, difficulty="wide"),
            frames + 1,
        ),
    }
    spent = {name: [] for name in cases}
    for repeat in range(repeats + 1):
        for name, (function, number) in cases.items():
            start = time.process_time()
            function()
            if repeat:  # the first compiles
                spent[name].append((time.process_time() - start) / number)
    seconds = {name: statistics.median(values) for name, values in spent.items()}
    cv2.setNumThreads(threads)
    made = seconds["make_synthetic"]
    yield {"case": "one core: make_synthetic", "frames_core_s": 1 / made}
    for size in (64, 96):
        whole = seconds[size] + seconds["window"]
        yield {
            "case": f"one core: stream, {size} px",
            "crops_core_s": 1 / whole,
            "times_make_synthetic": made / whole,
            "share_of_window": seconds["window"] / whole,
            "layers": layers,
        }


def _plain(dataset, i):
    """What a short script does: read, unpickle, cut, without checks."""
    sequence, number = dataset.names[i].split("/")
    folder = dataset.root / dataset.split / sequence
    image = cv2.imread(str(dataset.image_path(i)))
    with open(folder / "meta" / f"{number}.pkl", "rb") as file:
        meta = pickle.load(file)  # made by this program a moment ago
    points = (meta["handJoints3D"] * [1, -1, -1]) @ meta["camMat"].T
    centre, side, _ = crop_box(points[:, :2] / points[:, 2:], image.shape[1::-1])
    crop = cv2.warpAffine(image, crop_matrix(centre, side, SIZE)[:2], (SIZE, SIZE))
    return cv2.cvtColor(crop, cv2.COLOR_BGR2RGB)


def _workers(sets, workers, count):
    """Whole batches of the training iterator, kinds in turns; 0 workers are threads."""
    iterators = {
        (name, n): train_batches(sets[name], SIZE, BATCH, seed=0, workers=n)
        for n in workers
        for name in ("tree", "records")
    }
    rates = {key: [] for key in iterators}
    for _ in range(1 if count < 10 else 2):
        for key, batches in iterators.items():
            for _ in range(8):  # what waited while the others ran
                next(batches)
            start = time.perf_counter()
            for _ in range(count):
                next(batches)
            rates[key].append(count * BATCH / (time.perf_counter() - start))
    for batches in iterators.values():
        batches.close()
    medians = {key: statistics.median(values) for key, values in rates.items()}
    for (name, n), rate in medians.items():
        yield {
            "case": f"batches: {name}, {f'{n} processes' if n else 'threads'}",
            "images_s": rate,
            "times_tree": rate / medians["tree", n],
            "times_one_worker": rate / medians[name, 1],
            "cores": os.cpu_count(),
        }


def _memory(dataset, count):
    """Resident memory of this process and its workers, early and late."""
    for workers in (0, 1):
        batches = train_batches(dataset, 64, 2, seed=0, workers=workers, augmentation=STRONG)
        marks = {}
        for step in range(1, count + 1):
            next(batches)
            if step in (count // 10, count // 2, count):
                marks[step] = _resident_mib()
        batches.close()
        first, *_, last = marks.values()
        yield {
            "case": f"memory over {count} batches, {f'{workers} process' if workers else 'threads'}",
            "mib": {str(step): round(value) for step, value in marks.items()},
            "growth": last / first,
        }


def _resident_mib():
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            pages += int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
