"""Frames of one sequence side by side in a batch: for losses that compare them.

Which frames stand beside a frame depends on the seed and on the place in the run alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import grain
import numpy as np

from amvur_jax.data.frame import Dataset

Place = tuple[int, int]  # source and frame


@dataclasses.dataclass(frozen=True)
class Grouping:
    """config.data.group and config.data.group_span; configs/default.py says what they mean."""

    count: int = 1
    span: int = 30


def grouped(
    order: grain.MapDataset, dataset: Dataset, grouping: Grouping, seed: int
) -> grain.MapDataset:
    """Groups, tuples of `grouping.count` places, of an endless order of places of one data set.

    The first of each is the order's; the others are drawn from the frames of its sequence that are at most
    `grouping.span` frames away, and where those are too few, from all. Of an endless data set, whose frames
    share what they are made of with their neighbours, groups are those that follow one another.
    """
    if dataset.endless:
        return order.batch(grouping.count, batch_fn=tuple)
    return order.map_with_index(_Companions(dataset, grouping, seed))


def flattened(groups: grain.MapDataset, count: int) -> grain.MapDataset:
    """The places of groups of `count`, one after the other, without end."""
    return grain.MapDataset.range(2**62).map(_Member(groups, count))


def numbered(moments: Sequence[tuple[str, int]] | None) -> tuple[np.ndarray, np.ndarray] | None:
    """Each frame's sequence as a number, -1 for none, and its time; of `Dataset.moments`."""
    if moments is None:
        return None
    numbers: dict[str, int] = {"": -1}
    sequences = [numbers.setdefault(name, len(numbers) - 1) for name, _ in moments]
    return np.array(sequences, np.int32), np.array([time for _, time in moments], np.int64)


class _Companions:
    def __init__(self, dataset: Dataset, grouping: Grouping, seed: int) -> None:
        self._count, self._span, self._seed = grouping.count, grouping.span, seed
        self._size, self._moments = len(dataset), numbered(dataset.moments)
        self._members: dict[int, np.ndarray] = {}
        if self._moments:
            sequences = self._moments[0]
            by_sequence = np.argsort(sequences, kind="stable")
            names, starts = np.unique(sequences[by_sequence], return_index=True)
            self._members = dict(zip(names.tolist(), np.split(by_sequence, starts[1:])))
            self._members.pop(-1, None)

    def __call__(self, number: int, place: Place) -> tuple[Place, ...]:
        source, i = place
        rng = np.random.default_rng((self._seed, number, 1))  # augmentation has (seed, number)
        near = rng.permutation(self._near(i))[: self._count - 1]
        others = rng.integers(self._size, size=self._count - 1 - len(near))
        return tuple((source, int(j)) for j in (i, *near, *others))

    def _near(self, i: int) -> np.ndarray:
        if not self._moments or self._moments[0][i] < 0:
            return np.zeros(0, np.int64)
        sequences, times = self._moments
        members = self._members[int(sequences[i])]
        near = np.abs(times[members] - times[i]) <= self._span
        return members[near & (members != i)]


@dataclasses.dataclass(frozen=True)
class _Member:
    groups: grain.MapDataset
    count: int

    def __call__(self, position: int) -> Place:
        return self.groups[position // self.count][position % self.count]
