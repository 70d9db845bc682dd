"""One way to open a data set, whatever is in the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from amvur_jax.data.frame import Dataset
from amvur_jax.data.layouts import LAYOUTS
from amvur_jax.data.mixture import Mixture
from amvur_jax.data.readers.hands_csv import HANDS
from amvur_jax.data.readers.photos import HANDS_JSON, Photos, splits_in
from amvur_jax.data.readers.records import SUMMARY, UNFINISHED, Records, read_summary
from amvur_jax.data.synthetic import stream
from amvur_jax.data.views import LABELS, Limited, Masked
from amvur_jax.errors import UserError
from amvur_jax.files.places import place, reached
from mano_jax import HandModel

if TYPE_CHECKING:
    from ml_collections import ConfigDict

SPLITS = ("train", "evaluation")


def open_dataset(
    root: str | Path,
    split: str = "train",
    hand: HandModel | None = None,
    seed: int = 0,
    masks: bool = False,
) -> Dataset:
    """Open a split of the data set in a folder.

    Args:
      root: the folder, or its URL, of an official HO-3D v2 or v3 or FreiHAND, or one that build_dataset.py
        made; one of photographs with hands.csv or hands.json (amvur_jax.data.readers.photos); or "stream":
        made-up hands without end.
      split: "train" or "evaluation".
      hand: the mano_jax.HandModel that the labels are for; None = the embedded one.
      seed: of the stream.
      masks: training frames are to say what is seen of the hand (Frame.visible), where the data set knows.

    Returns:
      The data set.

    Raises:
      UserError: there is no data set in the folder, or it is incomplete or malformed.
    """
    if split not in SPLITS:
        raise UserError(f"split={split!r}: a data set has the splits train and evaluation")
    if str(root) == stream.ROOT:
        return stream.Stream(split, hand, seed)
    root = reached(root)
    if _has_photos(root):
        return Photos(root, split, hand)
    if (root / SUMMARY).is_file():
        return Records(root, split, hand, masks)
    if (root / UNFINISHED).is_file():
        raise UserError(f"{root}: is a build that was interrupted; run build_dataset.py again")
    readers = [layout.reader for layout in LAYOUTS.values()]
    here = [r for r in readers if any(r.mark(root, s).is_file() for s in SPLITS)]
    # Where nothing is told, the first one's reader says what is missing.
    return (here or readers)[0](root, split, hand, masks)


def splits_of(root: str | Path) -> list[str]:
    """The splits that a folder of a data set has; both where there is none, for the error."""
    if str(root) == stream.ROOT:
        return list(SPLITS)
    folder = reached(root)
    if _has_photos(folder):
        return splits_in(folder)
    if (folder / SUMMARY).is_file():
        return list(read_summary(folder)["splits"])
    readers = {layout.reader for layout in LAYOUTS.values()}
    here = [s for s in SPLITS if any(r.mark(folder, s).is_file() for r in readers)]
    return here or list(SPLITS)


def _has_photos(root: Path) -> bool:
    return any((root / name).is_file() for name in (HANDS, HANDS_JSON))


def open_training(
    settings: ConfigDict, hand: HandModel | None = None, seed: int = 0, masks: bool = False
) -> Mixture:
    """Open what a run trains on.

    Args:
      settings: config.data: `root`, or `mix` with a (root, weight) or (root, weight, labels) for
        each data set; labels is one of views.LABELS.
      hand: the mano_jax.HandModel that the labels are for; None = the embedded one.

      seed: of the stream.
      masks: samples are to say which pixels show the hand (config.loss.occlusion="labels").

    Returns:
      The Mixture.

    Raises:
      UserError: an entry is malformed, or a data set is not as it should be.
    """
    entries = [_entry(entry) for entry in settings.mix] or [(settings.root, 1.0, "all")]
    opened = [open_dataset(root, "train", hand, seed, masks) for root, _, _ in entries]
    if masks and settings.masks:
        opened = _masked(opened, place(settings.masks))
    datasets = []
    for dataset, (_, _, labels) in zip(opened, entries):
        datasets.append(dataset if labels == "all" else Limited(dataset, labels))
    return Mixture(tuple(datasets), tuple(weight for _, weight, _ in entries), masks)


def _masked(datasets: list[Dataset], folder: Path) -> list[Dataset]:
    """The data sets, that one with its masks from the folder whose first frame has one there."""
    masked = [Masked(dataset, folder) for dataset in datasets]
    here = [view.path(view.names[0]).is_file() for view in masked]
    if not any(here):
        raise UserError(
            f"config.data.masks: {masked[0].path(masked[0].names[0])} is not there, the mask of the first "
            "frame; give a folder with NAME.png for each frame NAME, white where the hand is seen"
        )
    return [view if found else plain for plain, view, found in zip(datasets, masked, here)]


def open_evaluation(
    settings: ConfigDict, root: str = "", hand: HandModel | None = None
) -> Dataset | None:
    """Open the split that a run is scored on while it trains.

    Args:
      settings: config.data.
      root: config.eval.root; "" for the first data set of the run that has an evaluation split.
      hand: the mano_jax.HandModel of the labels; None = the embedded one.

    Returns:
      The data set, or None where no root was given and none of the run's has the split.

    Raises:
      UserError: the data set is not as it should be.
    """
    if root:
        return open_dataset(root, "evaluation", hand)
    roots = [_entry(entry)[0] for entry in settings.mix] or [settings.root]
    for candidate in roots:
        if "evaluation" in splits_of(candidate):
            return open_dataset(candidate, "evaluation", hand)
    return None


def _entry(entry: Sequence[Any]) -> tuple[str, float, str]:
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
