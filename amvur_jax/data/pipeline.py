"""Batches of samples, read ahead by threads (OpenCV decodes without holding Python's lock)."""

import math
import os

import grain
import numpy as np

from amvur_jax.data.samples import make_sample

# Decoded samples that wait in memory, in batches: enough to hide a slow read, no more.
_BATCHES_AHEAD = 2
_CACHE_BYTES = 2 << 30


def train_batches(
    dataset, size, batch_size, seed, start_step=0, workers=0, jitter_px=5.0, cache=False
):
    """Endless training batches, each epoch in a new order; batches may span two epochs.

    What step n holds depends on the dataset, the batch size, the seed and n alone: neither on
    the number of workers nor on where the iterator started.

    Args:
      dataset: an object with len and frame(i), such as HO3D.
      size: side of the crop, pixels.
      batch_size: samples a batch.
      seed: of the order and of the crops' jitter, 0 <= seed < 2**32.
      start_step: number of batches to leave out, without reading them.
      workers: reading threads; 0 = one per processor, at most 16.
      jitter_px: standard deviation of the crop centre's jitter, pixels of the frame.
      cache: keep decoded frames in memory, as many as fit in 2 GB (2,300 of HO-3D's size).

    Returns:
      An iterator over the dicts of make_sample, stacked.

    Raises:
      UserError: from next(), when a frame is missing or damaged.
    """

    if cache:
        dataset = _Cached(dataset)

    def sample(position, i):
        rng = np.random.default_rng((seed, position))
        return make_sample(dataset.frame(i), size, rng, jitter_px)

    order = grain.MapDataset.range(len(dataset)).shuffle(seed=seed).repeat()
    # The position is counted before the slice, so it is that of the whole run.
    samples = order.map_with_index(sample)[start_step * batch_size :]
    return _batches(samples, batch_size, workers)


def evaluation_batches(dataset, size, batch_size, workers=0):
    """The whole dataset once, in its own order, without jitter.

    Args:
      dataset: an object with len and frame(i), such as HO3D.
      size: side of the crop, pixels.
      batch_size: samples a batch.
      workers: reading threads; 0 = one per processor, at most 16.

    Returns:
      An iterator over the dicts of make_sample, stacked, with `valid` (B,) bool: False for the
      copies of the last sample that fill the last batch.

    Raises:
      UserError: from next(), when a frame is missing or damaged.
    """
    last = len(dataset) - 1

    def sample(i):
        values = make_sample(dataset.frame(min(i, last)), size)
        return values | {"valid": np.bool_(i <= last)}

    count = math.ceil(len(dataset) / batch_size) * batch_size
    return _batches(grain.MapDataset.range(count).map(sample), batch_size, workers)


def _batches(samples, batch_size, workers):
    workers = workers or min(os.cpu_count() or 1, 16)
    options = grain.ReadOptions(
        num_threads=workers, prefetch_buffer_size=max(workers, _BATCHES_AHEAD * batch_size)
    )
    return iter(samples.to_iter_dataset(options).batch(batch_size))


class _Cached:
    """A dataset that keeps the frames it has read, until the memory for them is used up."""

    def __init__(self, dataset):
        self._dataset = dataset
        self._frames = {}
        self._free = _CACHE_BYTES

    def __len__(self):
        return len(self._dataset)

    def frame(self, i):
        frame = self._frames.get(i)
        if frame is None:
            frame = self._dataset.frame(i)
            if frame.image.nbytes <= self._free:
                self._free -= frame.image.nbytes
                self._frames[i] = frame
        return frame
