"""bulk.py on two cores beside predict's plain loop on the same photographs, in turns; stages; memory.

Needs Ray: pip install '.[ray]'. Both write numbers alone, and start-up is left out: of bulk the middle half
of the partitions is timed, while all stages have work, and of seconds by stage the first partition of each
process is not counted. Other work on the machine slows fewer processes more: compare processor seconds there.
"""

import importlib.util
import os
import pathlib
import shutil
import statistics
import tempfile
import time

from amvur_jax.errors import UserError
from amvur_jax.predict import predict
from amvur_jax.runtime import startup

ROOT = pathlib.Path(__file__).parents[1]
PHOTOS = sorted((ROOT / "amvur_jax" / "assets" / "photos").glob("*.jpg"))
CPU = "cpu"
FINDERS = 2


def _counted(stage):
    class Counted(stage):
        """Counts the processor seconds of its process, too, and all from its second partition on."""

        before = None

        def spent(self):
            seconds, peak = super().spent()
            now, before = time.process_time(), self.before
            self.before = now
            return {} if before is None else seconds | {f"{self.name} {CPU}": now - before}, peak

    return Counted


def run(quick):
    """Yield rows: a photograph by both, by the parts of the stages, and peak memory by the run's length."""
    if importlib.util.find_spec("ray") is None:
        raise UserError("the suite bulk needs Ray: pip install '.[ray]'")
    from amvur_jax.bulk.run import join_cluster
    from amvur_jax.bulk.stages import Settings

    join_cluster(None, 2)
    turns, size, count = (1, 2, 8) if quick else (2, 16, 16)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        photos = folder / "photos"
        photos.mkdir()
        for i in range(size * count):
            shutil.copy(PHOTOS[i % len(PHOTOS)], photos / f"{i:05d}.jpg")
        settings = Settings(
            folder / "out",
            xla_flags=os.environ.get("XLA_FLAGS", ""),
            compiled=startup.cache_folder(),
        )
        reconstructor = settings.load()
        paths = sorted(photos.iterdir())
        predict(reconstructor, paths[: 2 * size], folder / "plain", kinds=(), draw=False)
        ours, plain = [], []
        for _ in range(turns):
            plain.append(_plain(reconstructor, paths[: size * count // 2], folder / "plain"))
            ours.append(_bulk(paths, settings, size))
        short = _bulk(paths[: len(paths) // 4], settings, size)
        yield from _rows(plain, ours, short, len(paths))


def _plain(reconstructor, paths, output):
    """Wall and processor seconds a photograph."""
    start, cpu = time.perf_counter(), time.process_time()
    predict(reconstructor, paths, output, kinds=(), draw=False, overwrite=True)
    return {
        "s": (time.perf_counter() - start) / len(paths),
        CPU: (time.process_time() - cpu) / len(paths),
    }


def _bulk(paths, settings, size):
    """Wall seconds a photograph in the middle half, and what the summary says."""
    from amvur_jax.bulk.run import bulk
    from amvur_jax.bulk.sources import Source
    from amvur_jax.bulk.stages import Find, Reconstruct

    sources = [Source(str(path), path) for path in paths]
    stages = _counted(Find), _counted(Reconstruct)
    summary = bulk(sources, settings, size=size, finders=FINDERS, overwrite=True, stages=stages)
    assert summary.pictures == len(paths) and not summary.bad
    ends = sorted(p.stat().st_mtime for p in (settings.output / "pictures").iterdir())
    first, last = len(ends) // 4, 3 * len(ends) // 4
    counted = {part: len(paths) - size * FINDERS for part in ("read", "detect", f"find {CPU}")}
    each = {
        part: seconds / counted.get(part, len(paths) - size)
        for part, seconds in summary.seconds.items()
    }
    cpu = sum(seconds for part, seconds in each.items() if part.endswith(CPU))
    wall = (ends[last] - ends[first]) / (size * (last - first))
    return {"s": wall, CPU: cpu, "stages": each, "peak": summary.peak_mib}


def _rows(plain, ours, short, count):
    middle = {
        name: {key: statistics.median(one[key] for one in found) for key in ("s", CPU)}
        for name, found in (("plain loop", plain), ("bulk", ours))
    }
    base = middle["plain loop"]
    for name, found in middle.items():
        row = {"case": "photo", "by": name, "ms": 1000 * found["s"], "cpu_ms": 1000 * found[CPU]}
        if name == "bulk":
            row["speed_of_plain"] = base["s"] / found["s"]
            row["cpu_of_plain"] = found[CPU] / base[CPU]
        yield row
    for part in ours[0]["stages"]:
        ms = 1000 * statistics.median(one["stages"][part] for one in ours)
        yield {"case": "stage", "part": part, "ms": ms}
    for stage, mib in ours[-1]["peak"].items():
        yield {
            "case": "memory",
            "stage": stage,
            "peak_mib": mib,
            "photos": count,
            "peak_mib_of_a_quarter": short["peak"][stage],
        }
