"""Batches of samples, read ahead by threads or by processes, the same whichever it is."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

import grain
import numpy as np
from absl import flags, logging

from amvur_jax.data.augment import Augmentation
from amvur_jax.data.frame import Dataset
from amvur_jax.data.groups import Grouping, numbered
from amvur_jax.data.mixture import Mixture, as_mixture
from amvur_jax.data.sample import empty_sample, make_sample
from amvur_jax.data.views import Cached
from amvur_jax.errors import UserError

if TYPE_CHECKING:
    import jax

# Ready batches that wait in memory: enough to hide a slow read, no more.
_BATCHES_AHEAD = 3
_CACHE_BYTES = 2 << 30


def train_batches(
    data: Dataset | Mixture,
    size: int,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    workers: int = 0,
    augmentation: Augmentation | None = None,
    cache: bool = False,
    strict: bool = False,
    bad_frames: int = 100,
    process_index: int = 0,
    process_count: int = 1,
    crop_scale: float = 1.0,
    grouping: Grouping | None = None,
) -> TrainBatches:
    """Endless training batches, each epoch in a new order; batches may span two epochs.

    What step n holds depends on the data, the batch size, the seed and n alone: neither on the
    number of workers nor on where the iterator started. All processes together hold what one would.

    Args:
      data: a data set of amvur_jax.data.open, or a Mixture of several.
      size: side of the crop, pixels.
      batch_size: samples a batch, over all processes.
      seed: of the order and of the augmentation, 0 <= seed < 2**32.
      start_step: number of batches to leave out, without reading them.
      workers: processes that read; 0 = threads of this one, one per core.
      augmentation: an Augmentation; None = the published jitter alone.
      cache: keep decoded frames in memory, as many as fit in 2 GB (2,300 of HO-3D's size).
      strict: raise where a frame cannot be read; otherwise it is named in a warning and its sample
        is black with all has_* and joints_valid at 0.
      bad_frames: more of those in a row, of the ones that this process reads, are an error; 0 = never.
      crop_scale: of make_sample.
      grouping: a Grouping, with which samples say too their `sequence`, int32, -1 for none, and `time`, their
        frame's number over grouping.span; None or one of 1 for samples that know of no other.
      process_index, process_count: which share of each batch is this process's.

    Returns:
      A TrainBatches.

    Raises:
      UserError: the batch cannot be shared out or grouped, or the data was built for less augmentation;
        from next(), where too many frames cannot be read.
    """
    mixture = as_mixture(data)
    augmentation = augmentation or Augmentation()
    mixture.check_reach(augmentation)
    if batch_size % process_count:
        raise UserError(
            f"a batch of {batch_size} samples cannot be shared by {process_count} processes; "
            "choose a multiple of them"
        )
    if grouping and grouping.count == 1:
        grouping = None
    if grouping:
        _check_groups(mixture, batch_size // process_count, grouping)
    if cache:
        mixture = mixture.map(lambda d: Cached(d, _CACHE_BYTES // max(1, workers)))
    sample = _Sample(mixture, size, seed, augmentation, strict, crop_scale, grouping)
    # The position is counted before the slices, so it is that of the whole run.
    samples = mixture.order(seed, grouping).map_with_index(sample)

    def start(step: int) -> Iterator[dict[str, np.ndarray]]:
        # Processes have neighbouring parts: a batch put together is in the order of one process alone.
        # An end, however far: grain counts batches in float64, and of one sample each more than fit an index.
        parts = samples[step * batch_size : 2**62].batch(batch_size // process_count)
        return _ahead(parts[process_index::process_count], workers)

    key = {"seed": seed, "batch_size": batch_size, "frames": [len(d) for d in mixture.datasets]}
    if grouping:
        key["group"] = [grouping.count, grouping.span]
    return TrainBatches(start, mixture, key, start_step, bad_frames)


def _check_groups(mixture: Mixture, batch_size: int, grouping: Grouping) -> None:
    """Raise a UserError where a process's part of a batch is no whole groups, or there are none to make."""
    if batch_size % grouping.count:
        raise UserError(
            f"config.data.group: {batch_size} samples, a process's part of a batch, are no number of groups "
            f"of {grouping.count}; choose a multiple"
        )
    if not any(d.moments and any(name for name, _ in d.moments) for d in mixture.datasets):
        roots = ", ".join(str(d.root) for d in mixture.datasets)
        raise UserError(
            f"config.data.group={grouping.count}: no frame of {roots} is known to be of a sequence; take "
            "HO-3D or videos labelled by scripts/label.py, or set it to 1"
        )


class TrainBatches:
    """An endless iterator over dicts of stacked samples, whose place can be saved and restored.

    Args:
      start: function of a step that returns the iterator from there on.
      mixture: the Mixture that it reads.
      key: dict of what the order depends on.
      step: the next batch.
      bad_frames: how many frames in a row may be unreadable; 0 = all of them.
    """

    def __init__(
        self,
        start: Callable[[int], Iterator[dict[str, np.ndarray]]],
        mixture: Mixture,
        key: dict[str, Any],
        step: int,
        bad_frames: int,
    ) -> None:
        self._start, self._mixture, self._key, self._step = start, mixture, key, step
        self._bad_frames, self._bad = bad_frames, 0
        self._iterator: Iterator[dict[str, np.ndarray]] | None = None

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        if self._iterator is None:
            self._iterator = self._start(self._step)
        batch = dict(next(self._iterator))
        self._step += 1
        self._count_bad(batch.pop("unreadable"), batch)
        return batch

    def _count_bad(self, unreadable: np.ndarray, batch: Mapping[str, np.ndarray]) -> None:
        for bad, source, i in zip(unreadable, batch["source"], batch["index"]):
            self._bad = self._bad + 1 if bad else 0
            if 0 < self._bad_frames < self._bad:
                dataset = self._mixture.datasets[int(source)]
                raise UserError(
                    f"{dataset.root}: {self._bad} training frames in a row cannot be read, the last "
                    f"one is {dataset.names[int(i)]} (the warnings above say why); mend the data set, "
                    "or build one of what can be read with scripts/build_dataset.py. "
                    f"config.data.bad_frames={self._bad_frames} are allowed (0: any number), with "
                    "config.data.strict=True none"
                )

    def get_state(self) -> dict[str, Any]:
        """Where the iterator is: a small dict, ready for JSON."""
        return {"step": self._step, **self._key}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go to where an iterator over the same data was, with any number of workers.

        Args:
          state: of get_state.

        Raises:
          UserError: the state is of other data, another seed or another batch size.
        """
        for name in [*self._key, "group"]:
            if state.get(name) != self._key.get(name):
                raise UserError(
                    f"the saved place in the data is for {name} {state.get(name)}, this run has "
                    f"{self._key.get(name)}; repeat the data and config of the run, or start anew"
                )
        self.close()
        self._step, self._bad = state["step"], 0

    def names(self, batch: Mapping[str, np.ndarray | jax.Array]) -> list[str]:
        """What the frames of a batch are called, as ROOT: NAME where there are several data sets."""
        return self._mixture.names(batch["source"], batch["index"])

    def close(self) -> None:
        """Stop the workers; the next batch starts them again."""
        if self._iterator is not None:
            with contextlib.suppress(AttributeError):
                self._iterator.close()  # type: ignore[attr-defined]  # where it has it
        self._iterator = None


def evaluation_batches(
    dataset: Dataset, size: int, batch_size: int, workers: int = 0, crop_scale: float = 1.0
) -> Iterator[dict[str, np.ndarray]]:
    """The whole dataset once, in its own order, without jitter.

    Args:
      dataset: a data set of amvur_jax.data.open.
      size: side of the crop, pixels.
      batch_size: samples a batch.
      workers: processes that read; 0 = threads of this one, one per core.

    Returns:
      An iterator over the dicts of make_sample, stacked, with `valid` (B,) bool: False for the
      copies of the last sample that fill the last batch.

    Raises:
      UserError: from next(), when a frame is missing or damaged.
    """
    count = math.ceil(len(dataset) / batch_size) * batch_size
    samples = grain.MapDataset.range(count).map(_EvaluationSample(dataset, size, crop_scale))
    return _ahead(samples.batch(batch_size), workers)


class _Sample:
    """Position and (source, frame) to sample; a class, so that it travels to other processes."""

    def __init__(
        self,
        mixture: Mixture,
        size: int,
        seed: int,
        augmentation: Augmentation,
        strict: bool,
        crop_scale: float,
        grouping: Grouping | None,
    ) -> None:
        self._datasets, self._masks = mixture.datasets, mixture.masks
        self._size, self._seed = size, seed
        self._augmentation, self._strict = augmentation, strict
        self._crop_scale = crop_scale
        self._span = grouping.span if grouping else 0
        self._moments = [numbered(d.moments) for d in mixture.datasets] if grouping else []

    def __call__(self, position: int, place: tuple[int, int]) -> dict[str, Any]:
        source, i = place
        rng = np.random.default_rng((self._seed, position))
        try:
            frame = self._datasets[source].frame(i)
            sample = make_sample(
                frame, self._size, rng, self._augmentation, self._crop_scale, self._masks
            )
            unreadable = False
        except UserError as error:
            if self._strict:
                raise
            logging.warning("a frame is left out of its batch: %s", error)
            sample, unreadable = empty_sample(i, self._size, self._masks), True
        if self._moments:
            sample |= self._moment(source, i)
        return sample | {"source": np.int32(source), "unreadable": np.bool_(unreadable)}

    def _moment(self, source: int, i: int) -> dict[str, Any]:
        moments = self._moments[source]
        sequence, time = (-1, 0) if moments is None else (part[i] for part in moments)
        if sequence >= 0:  # another number than those of the other data sets
            sequence = sequence * len(self._moments) + source
        return {"sequence": np.int32(sequence), "time": np.float32(time / self._span)}


class _EvaluationSample:
    def __init__(self, dataset: Dataset, size: int, crop_scale: float) -> None:
        self._dataset, self._size, self._crop_scale = dataset, size, crop_scale

    def __call__(self, i: int) -> dict[str, Any]:
        last = len(self._dataset) - 1
        frame = self._dataset.frame(min(i, last))
        values = make_sample(frame, self._size, crop_scale=self._crop_scale)
        return values | {"valid": np.bool_(i <= last)}


def _ahead(batches: grain.MapDataset, workers: int) -> Iterator[dict[str, np.ndarray]]:
    """Read a MapDataset of batches ahead."""
    threads = 1 if workers else min(os.cpu_count() or 1, 16)
    options = grain.ReadOptions(
        num_threads=threads, prefetch_buffer_size=max(threads, _BATCHES_AHEAD)
    )
    iterable = batches.to_iter_dataset(options)
    if workers:
        if not flags.FLAGS.is_parsed():
            flags.FLAGS.mark_as_parsed()  # used as a library: Grain's processes insist
        iterable = iterable.mp_prefetch(
            grain.MultiprocessingOptions(num_workers=workers, per_worker_buffer_size=_BATCHES_AHEAD)
        )
    return iter(iterable)
