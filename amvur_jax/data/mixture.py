"""Several data sets in one run, each with its share of the samples."""

import dataclasses

import grain

from amvur_jax.errors import UserError

# Which labels of a data set are used: the others are taken off its frames.
LABELS = ("all", "3d", "2d")


@dataclasses.dataclass(frozen=True)
class Mixture:
    """Data sets and the weights with which their frames are drawn.

    Attributes:
      datasets: of amvur_jax.data.sources.
      weights: one positive number each; None = as many frames of each as it has.
    """

    datasets: tuple
    weights: tuple | None = None

    def __len__(self):
        return sum(len(d) for d in self.datasets)

    def order(self, seed):
        """An endless grain.MapDataset of (source, frame), each source shuffled anew every epoch."""
        orders = [
            # (seed, source) in 32 bits: with one source the seed itself.
            _range(source, len(dataset)).shuffle(seed=(seed + 0x9E3779B1 * source) % 2**32).repeat()
            for source, dataset in enumerate(self.datasets)
        ]
        if len(orders) == 1:
            return orders[0]
        weights = self.weights or [len(d) for d in self.datasets]
        total = sum(weights)
        return grain.MapDataset.mix(orders, [w / total for w in weights])

    def map(self, function):
        """The mixture with another data set in the place of each."""
        return dataclasses.replace(self, datasets=tuple(map(function, self.datasets)))

    def names(self, sources, indices):
        """What frames are called, as ROOT: NAME where there are several data sets."""
        several = len(self.datasets) > 1
        found = []
        for source, i in zip(sources, indices):
            dataset = self.datasets[int(source)]
            name = dataset.names[int(i)]
            found.append(f"{dataset.root}: {name}" if several else name)
        return found

    def check_reach(self, augmentation):
        """Raise a UserError where built records do not hold what the augmentation can reach."""
        for dataset in self.datasets:
            reach = getattr(dataset, "reach", None)
            field = reach and augmentation.exceeds(reach)
            if field:
                raise UserError(
                    f"{dataset.root}: was built for a {field} of at most {getattr(reach, field):g}, "
                    f"config.data.augment asks for {getattr(augmentation, field):g}; lower it, or "
                    f"build again with --{field}={getattr(augmentation, field):g}"
                )


class Limited:
    """A data set whose frames keep only some of their labels.

    Args:
      dataset: of amvur_jax.data.sources.
      labels: "3d" (joints, no mesh) or "2d" (projected joints alone).
    """

    def __init__(self, dataset, labels):
        self._dataset, self._labels = dataset, labels
        self.root, self.names = dataset.root, dataset.names
        self.layout, self.split = dataset.layout, dataset.split
        self.reach = getattr(dataset, "reach", None)

    def __len__(self):
        return len(self._dataset)

    def frame(self, i):
        """The frame of the data set, without the labels that are not wanted."""
        frame = self._dataset.frame(i)
        frame = dataclasses.replace(frame, pose=None, betas=None, trans=None, root_cam=None)
        if self._labels == "3d":
            return frame
        joints_px = frame.joints_px if frame.joints_cam is None else frame.projected_joints()
        return dataclasses.replace(frame, joints_cam=None, wrist_cam=None, joints_px=joints_px)


def as_mixture(data):
    """A Mixture as it is, a data set as a mixture of one."""
    return data if isinstance(data, Mixture) else Mixture((data,))


def _range(source, count):
    return grain.MapDataset.range(count).map(_Place(source))


@dataclasses.dataclass(frozen=True)
class _Place:
    source: int

    def __call__(self, i):
        return self.source, i
