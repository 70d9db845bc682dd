"""One way to open a data set, whatever is in the folder."""

from pathlib import Path

from amvur_jax.data.mixture import Mixture
from amvur_jax.data.readers.freihand import FOLDERS, FreiHAND
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.data.readers.records import SUMMARY, UNFINISHED, Records
from amvur_jax.data.views import LABELS, Limited
from amvur_jax.errors import UserError

LAYOUTS = ("ho3d_v2", "ho3d_v3", "freihand")
SPLITS = ("train", "evaluation")


def open_dataset(root, split="train", hand=None):
    """Open a split of the data set in a folder.

    Args:
      root: the folder of an official HO-3D v2 or v3 or FreiHAND, or one that build_dataset.py made.
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel that the labels are for; None = the embedded one.

    Returns:
      The data set.

    Raises:
      UserError: there is no data set in the folder, or it is incomplete or malformed.
    """
    if split not in SPLITS:
        raise UserError(f"split={split!r}: a data set has the splits train and evaluation")
    root = Path(root)
    if (root / SUMMARY).is_file():
        return Records(root, split, hand)
    if (root / UNFINISHED).is_file():
        raise UserError(f"{root}: is a build that was interrupted; run build_dataset.py again")
    if any((root / f"{folder}_K.json").is_file() for folder in FOLDERS.values()):
        return FreiHAND(root, split, hand)
    return HO3D(root, split, hand)


def splits_of(root):
    """The splits that a folder of an official data set has; both where it has none, for the error."""
    root = Path(root)
    marks = {s: (root / f"{s}.txt", root / f"{FOLDERS[s]}_K.json") for s in SPLITS}
    return [s for s in SPLITS if any(mark.is_file() for mark in marks[s])] or list(SPLITS)


def open_training(settings, hand=None):
    """Open what a run trains on.

    Args:
      settings: config.data: `root`, or `mix` with a (root, weight) or (root, weight, labels) for
        each data set; labels is one of views.LABELS.
      hand: the mano_jax.HandModel that the labels are for; None = the embedded one.

    Returns:
      The Mixture.

    Raises:
      UserError: an entry is malformed, or a data set is not as it should be.
    """
    entries = [_entry(entry) for entry in settings.mix] or [(settings.root, 1.0, "all")]
    datasets = []
    for root, _, labels in entries:
        dataset = open_dataset(root, "train", hand)
        datasets.append(dataset if labels == "all" else Limited(dataset, labels))
    return Mixture(tuple(datasets), tuple(weight for _, weight, _ in entries))


def _entry(entry):
    try:
        root, weight, labels = entry if len(entry) == 3 else (*entry, "all")
        weight = float(weight)
        if not 0 < weight < float("inf") or labels not in LABELS or not isinstance(root, str):
            raise ValueError
    except (TypeError, ValueError):
        raise UserError(
            f"config.data.mix: {entry!r} is no (root, weight) or (root, weight, labels) with a "
            f"positive weight and labels of {', '.join(LABELS)}"
        ) from None
    return root, weight, labels
