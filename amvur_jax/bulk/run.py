"""A bulk run: partitions go through the stages' actors of Ray Data, and what became of them is counted.

Ray starts a worker that died anew and gives it its work again; that this ends, and that a partition is
written once, the stages see to by their Notes and files: Ray Data's own writer would write a file for each of
its blocks, and would not know at which picture a worker died.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import ray
import ray.cloudpickle
import ray.data
from tqdm import tqdm

from amvur_jax.bulk import tables
from amvur_jax.bulk.sources import Partition, Source, partitions
from amvur_jax.bulk.stages import Done, Find, Reconstruct, Settings
from amvur_jax.errors import UserError
from amvur_jax.files.lock import locked
from amvur_jax.files.whole import explained, write_json

SIZE = 64  # pictures of a partition
RUN, LOCK = "run.json", "bulk.lock"
ON_GPU = 64  # hands that the network sees at once


@dataclasses.dataclass
class Summary:
    """What became of a run's pictures, videos among them.

    bad: those without result, of earlier runs too, and why. earlier: done before. seconds: of all
    workers, by what they were spent on. peak_mib: of the largest worker of each stage.
    """

    pictures: int = 0
    hands: int = 0
    empty: int = 0
    earlier: int = 0
    bad: dict[str, str] = dataclasses.field(default_factory=dict)
    remarks: list[str] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)
    peak_mib: dict[str, float] = dataclasses.field(default_factory=dict)

    def add(self, done: Done) -> None:
        """Count a partition."""
        for entry in done.entries:
            if entry["error"]:
                self.bad[entry["picture"]] = entry["error"]
                continue
            self.pictures += 1
            self.hands += entry["hands"]
            self.empty += not entry["hands"]
            if entry["remark"]:
                self.remarks.append(f"{entry['picture']}: {entry['remark']}")
        for part, seconds in done.seconds.items():
            self.seconds[part] = self.seconds.get(part, 0.0) + seconds
        for stage, mib in done.peak_mib.items():
            self.peak_mib[stage] = max(self.peak_mib.get(stage, 0.0), mib)

    def __str__(self) -> str:
        words = [f"{self.hands} hands in {self.pictures} pictures and videos"]
        words += [f"{self.empty} without a hand"] * bool(self.empty)
        words += [f"{len(self.bad)} left out"] * bool(self.bad)
        words += [f"{self.earlier} done before"] * bool(self.earlier)
        lines = [", ".join(words)]
        if self.seconds:
            spent = ", ".join(f"{part} {s:.1f} s" for part, s in self.seconds.items())
            peak = ", ".join(f"{stage} {mib:.0f} MiB" for stage, mib in self.peak_mib.items())
            lines.append(f"the workers' time: {spent}; the largest: {peak}")
        return "\n".join(lines)


class _Actor:
    """A stage as Ray Data has it: rows of bytes."""

    def __init__(self, stage: type[Find] | type[Reconstruct], settings: Settings) -> None:
        self._stage: Any = stage(settings)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        return {"work": ray.cloudpickle.dumps(self._stage(ray.cloudpickle.loads(row["work"])))}


def join_cluster(address: str | None, workers: int | None) -> None:
    """Join a Ray cluster, or start one of this machine alone; one that is joined already is kept.

    Args:
      address: as of `ray start`, "auto" for this machine's; None for RAY_ADDRESS, else a new one.
      workers: how many cores a new one has; None for all.
    Raises:
      UserError: there is none at this address.
    """
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would tell its makers of the run
    joins = address or os.environ.get("RAY_ADDRESS")
    own: dict[str, Any] = {} if joins else {"num_cpus": workers, "include_dashboard": False}
    try:
        with warnings.catch_warnings():  # JAX warns of forks; Ray's are followed by exec
            warnings.filterwarnings("ignore", "os.fork", RuntimeWarning)
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR, **own)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise UserError(f"--address={joins}: no Ray cluster can be joined ({error})") from error


def has_gpus() -> bool:
    """Whether the cluster that was joined has any."""
    return ray.cluster_resources().get("GPU", 0) >= 1


def bulk(
    sources: Sequence[Source],
    settings: Settings,
    *,
    size: int = SIZE,
    finders: int | None = None,
    networks: int | None = None,
    resume: bool = False,
    overwrite: bool = False,
    stages: tuple[type[Find], type[Reconstruct]] = (Find, Reconstruct),
) -> Summary:
    """Reconstruct the hands of many pictures and videos on the Ray cluster that was joined.

    Leaves hands/NAME.parquet and pictures/NAME.parquet of each partition (docs/bulk.md).

    Args:
      sources: as of `find_sources`.
      settings: of all workers; its output is the folder.
      size: pictures of a partition.
      finders: processes that find hands; None for one on each core.
      networks: processes with the network; None for one on each GPU, without any for one on each machine.
      resume: leave out what is done.
      overwrite: start anew where there are results.
      stages: the classes that do the work.
    Raises:
      UserError: the folder has results and neither resume nor overwrite is said, or those of other settings,
        is another run's just now, or cannot be written to; a worker could not begin.
    """
    with locked(settings.output / LOCK):
        return _bulk(sources, settings, size, finders, networks, resume, overwrite, stages)


def _bulk(
    sources: Sequence[Source],
    settings: Settings,
    size: int,
    finders: int | None,
    networks: int | None,
    resume: bool,
    overwrite: bool,
    stages: tuple[type[Find], type[Reconstruct]],
) -> Summary:
    done = _begin(settings, resume, overwrite)
    left = partitions([source for source in sources if source.name not in done], size)
    before = [(source.name, done[source.name]) for source in sources if source.name in done]
    bad = {name: error for name, error in before if error}
    summary = Summary(earlier=len(before) - len(bad), bad=bad)
    count = sum(len(partition.sources) for partition in left)
    if left:
        with tqdm(total=count, unit="picture", disable=None) as bar:
            for one in _through(left, settings, finders, networks, stages):
                summary.add(one)
                bar.update(len(one.entries))
    shutil.rmtree(settings.output / tables.WORKING, ignore_errors=True)
    return summary


def _through(
    left: Sequence[Partition],
    settings: Settings,
    finders: int | None,
    networks: int | None,
    stages: tuple[type[Find], type[Reconstruct]],
) -> Iterator[Done]:
    """The partitions, in any order, as they are done."""
    there = ray.cluster_resources()
    gpus = int(there.get("GPU", 0))
    finders = finders or max(int(there.get("CPU", 1)), 1)
    networks = networks or gpus or sum(node["Alive"] for node in ray.nodes())
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    rows = [{"work": ray.cloudpickle.dumps(partition)} for partition in left]
    data: Any = ray.data.from_items(rows, override_num_blocks=len(rows))
    shares: list[dict[str, Any]] = [
        {"num_cpus": 1, "compute": ray.data.ActorPoolStrategy(size=min(finders, len(rows)))},
        {
            **({"num_gpus": 1} if gpus else {"num_cpus": 0}),
            "compute": ray.data.ActorPoolStrategy(size=min(networks, len(rows))),
        },
    ]
    for stage, share in zip(stages, shares):
        data = data.map(_Actor, fn_constructor_args=(stage, settings), **share)
    try:
        for row in data.iter_rows():
            yield ray.cloudpickle.loads(row["work"])
    except ray.exceptions.RayError as error:
        raise UserError(
            f"{settings.output}: a worker failed ({_reason(error)}); what is whole stays, --resume goes on"
        ) from error


def _reason(error: BaseException) -> str:
    """What was raised first, in a line."""
    while cause := getattr(error, "cause", None) or error.__cause__:
        error = cause
    return f"{type(error).__name__}: {' '.join(str(error).split()[-60:])}"


def check_output(output: Path, resume: bool, overwrite: bool) -> list[Path]:
    """The files of results that a folder has.

    Raises:
      UserError: there are some of which nothing was said.
    """
    folders = [output / kind for kind in (tables.HANDS, tables.PICTURES)]
    there = [path for folder in folders for path in folder.glob("*.parquet")]
    if there and not (resume or overwrite):
        raise UserError(
            f"{output}: has results already; go on with --resume, start anew with --overwrite, or "
            "give another --output"
        )
    return there


def _begin(settings: Settings, resume: bool, overwrite: bool) -> dict[str, str | None]:
    """Make the folder ready: the names of the sources that are done, and the errors of those that failed."""
    output = settings.output
    there = check_output(output, resume, overwrite)
    answers = _answers(settings)
    with explained(output):
        if overwrite and not resume:
            for path in there:
                path.unlink()
            there = []
        elif there:
            _check_run(output / RUN, answers)
        shutil.rmtree(output / tables.WORKING, ignore_errors=True)
        for kind in (tables.HANDS, tables.PICTURES, tables.WORKING):
            (output / kind).mkdir(parents=True, exist_ok=True)
    write_json(output / RUN, answers)
    done: dict[str, str | None] = {}
    for path in (output / tables.PICTURES).glob("*.parquet"):
        try:
            done |= {entry["picture"]: entry["error"] for entry in tables.read_pictures(path)}
        except (OSError, pa.ArrowException) as error:
            raise UserError(
                f"{path}: is damaged ({error}); remove it, and --resume does its pictures again"
            ) from error
    return done


def _answers(settings: Settings) -> dict[str, Any]:
    """The settings that change a hand's numbers."""
    kept = dataclasses.asdict(settings)
    for name in ("output", "compiled", "xla_flags"):
        del kept[name]
    return json.loads(json.dumps(kept))


def _check_run(path: Path, answers: dict[str, Any]) -> None:
    try:
        before = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); start anew with --overwrite") from error
    for name, value in answers.items():
        if before.get(name) != value:
            raise UserError(
                f"{path}: was begun with {name}={before.get(name)}, not {value}; go on with the same, or "
                "give another --output"
            )


def failures(summary: Summary) -> None:
    """Raise a UserError that names pictures that were left out, if any."""
    if summary.bad:
        named = "; ".join(list(summary.bad.values())[:5]) + "; ..." * (len(summary.bad) > 5)
        raise UserError(
            f"{len(summary.bad)} pictures could not be used (column error of {tables.PICTURES}/): {named}"
        )
