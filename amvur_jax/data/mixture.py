"""Several data sets in one run, each with its share of the samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import grain

from amvur_jax.data.augment import Augmentation
from amvur_jax.data.frame import Dataset
from amvur_jax.data.groups import Grouping, flattened, grouped
from amvur_jax.errors import UserError

if TYPE_CHECKING:
    import jax
    import numpy as np


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Data sets and the weights with which their frames are drawn.

    Attributes:
      datasets: frame.Dataset each.
      weights: one positive number each; None = as many frames of each as it has.
      masks: whether samples say which pixels show the hand.
    """

    datasets: tuple[Dataset, ...]
    weights: tuple[float, ...] | None = None
    masks: bool = False

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)

    def order(self, seed: int, grouping: Grouping | None = None) -> grain.MapDataset:
        """An endless grain.MapDataset of (source, frame), each source shuffled anew every epoch.

        grouping: how many places in a row are of one group, or None.
        """
        # (seed, source) in 32 bits: with one source the seed itself.
        seeds = [(seed + 0x9E3779B1 * source) % 2**32 for source in range(len(self.datasets))]
        parts = zip(self.datasets, seeds)
        orders = [_order(source, *part) for source, part in enumerate(parts)]
        if grouping:
            orders = [grouped(o, d, grouping, s) for o, d, s in zip(orders, self.datasets, seeds)]
        mixed = orders[0]
        if len(orders) > 1:
            weights = self.weights or [len(d) for d in self.datasets]
            total = sum(weights)
            mixed = grain.MapDataset.mix(orders, [w / total for w in weights])
        return flattened(mixed, grouping.count) if grouping else mixed

    def map(self, function: Callable[[Dataset], Dataset]) -> Mixture:
        """The mixture with another data set in the place of each."""
        return dataclasses.replace(self, datasets=tuple(map(function, self.datasets)))

    def count(self) -> str:
        """How many frames there are, in words."""
        counted = sum(len(d) for d in self.datasets if not d.endless)
        drawn = ["frames drawn without end"] if any(d.endless for d in self.datasets) else []
        return " and ".join([f"{counted} frames"] * bool(counted or not drawn) + drawn)

    def names(self, sources: np.ndarray | jax.Array, indices: np.ndarray | jax.Array) -> list[str]:
        """What frames are called, as ROOT: NAME where there are several data sets."""
        several = len(self.datasets) > 1
        found = []
        for source, i in zip(sources, indices):
            dataset = self.datasets[int(source)]
            name = dataset.names[int(i)]
            found.append(f"{dataset.root}: {name}" if several else name)
        return found

    def check_reach(self, augmentation: Augmentation) -> None:
        """Raise a UserError where built records do not hold what the augmentation can reach."""
        for dataset in self.datasets:
            reach = dataset.reach
            field = reach and augmentation.exceeds(reach)
            if field:
                raise UserError(
                    f"{dataset.root}: was built for a {field} of at most {getattr(reach, field):g}, "
                    f"config.data.augment asks for {getattr(augmentation, field):g}; lower it, or "
                    f"build again with --{field}={getattr(augmentation, field):g}"
                )


def as_mixture(data: Dataset | Mixture) -> Mixture:
    """A Mixture as it is, a data set as a mixture of one."""
    return data if isinstance(data, Mixture) else Mixture((data,))


def _order(source: int, dataset: Dataset, seed: int) -> grain.MapDataset:
    places = grain.MapDataset.range(len(dataset)).map(_Place(source))
    # What has no end is in no order already.
    return (places if dataset.endless else places.shuffle(seed=seed)).repeat()


@dataclasses.dataclass(frozen=True)
class _Place:
    source: int

    def __call__(self, i: int) -> tuple[int, int]:
        return self.source, i
