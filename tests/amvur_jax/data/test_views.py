"""Views are data sets: each has all of the protocol, and what it does not change is the data set's."""

import dataclasses
import pathlib
import pickle
import tempfile

import cv2
import numpy as np
import pytest
from ml_collections import ConfigDict
from trees import write_ho3d

from amvur_jax.data import views
from amvur_jax.data.frame import Dataset
from amvur_jax.data.open import open_dataset, open_evaluation, open_training
from amvur_jax.data.readers.ho3d import HO3D
from amvur_jax.errors import UserError

MASKS = tempfile.TemporaryDirectory()


def write_masks(folder, dataset, size=(480, 640)):
    """A mask of each frame: the first 100 (index + 1) columns."""
    for i, name in enumerate(dataset.names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        mask = np.zeros(size, np.uint8)
        mask[:, : 100 * (i + 1)] = 255
        assert cv2.imwrite(str(folder / f"{name}.png"), mask)


def masked(dataset):
    write_masks(pathlib.Path(MASKS.name), dataset)
    return views.Masked(dataset, pathlib.Path(MASKS.name))


VIEWS = {
    "View": lambda d: views.View(d),
    "Share": lambda d: views.Share(d, 1, 2),
    "Subset": lambda d: views.Subset(d, 2),
    "Masked": masked,
    "Limited": lambda d: views.Limited(d, "2d"),
    "Cached": lambda d: views.Cached(d, 1 << 20),
}


def test_every_view_is_tried_here():
    kinds = {name for name, kind in vars(views).items() if isinstance(kind, type)}
    assert kinds - {"Chosen"} == set(VIEWS)


@pytest.mark.parametrize("split", ["train", "evaluation"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_a_data_set(tree, name, split):
    below = open_dataset(tree, split)
    view = VIEWS[name](below)
    for field in (name for name in vars(Dataset) if not name.startswith("_")):
        assert hasattr(below, field) and hasattr(view, field), field
    assert (view.root, view.split, view.layout) == (below.root, split, "ho3d_v2")
    assert len(view) == len(view.names) > 0
    for i in range(len(view)):
        frame = view.frame(i)
        assert frame.name == view.names[i] == below.names[frame.index]
        np.testing.assert_array_equal(frame.image, below.frame(frame.index).image)
    if name == "Limited" or split == "train":
        assert view.ground_truth is None
    else:
        for part, whole in zip(view.ground_truth, below.ground_truth):
            chosen = [view.frame(i).index for i in range(len(view))]
            np.testing.assert_array_equal(part, whole[chosen])


def test_a_subset_is_evenly_spread(tmp_path):
    write_ho3d(tmp_path, train=9, evaluation=1)
    below = open_dataset(tmp_path)
    assert views.Subset(below, 3).names == [below.names[i] for i in (0, 4, 8)]
    assert len(views.Subset(below, 0)) == len(views.Subset(below, 99)) == 9


def test_a_view_of_a_view_is_one_too(tree):
    below = open_dataset(tree, "evaluation")
    last = views.Share(views.Subset(below, 3), 2, 3)
    assert last.names == below.names[-1:]
    np.testing.assert_array_equal(last.ground_truth[0], below.ground_truth[0][-1:])


def settings(root, *mix):
    return ConfigDict({"root": str(root), "mix": mix, "masks": ""})


def test_the_scores_are_of_the_first_set_with_an_evaluation_split(tree, tmp_path):
    write_ho3d(tmp_path / "bare", train=2, evaluation=1)
    (tmp_path / "bare" / "evaluation.txt").unlink()
    bare, whole = str(tmp_path / "bare"), str(tree)
    assert open_evaluation(settings(tree)).root == tree
    mix = settings("nowhere", (bare, 1.0, "2d"), (whole, 1.0))
    assert open_evaluation(mix).root == tree
    assert open_evaluation(settings("nowhere", (bare, 1.0, "2d"))) is None
    assert open_evaluation(settings("nowhere", (bare, 1.0)), root=whole).root == tree
    with pytest.raises(UserError, match=r"evaluation\.txt"):
        open_evaluation(settings(tree), root=bare)
    # a run of such a mix draws its training frames: they have no ground truth, and say so
    assert open_training(mix).datasets[0].ground_truth is None


def test_a_process_that_reads_frames_is_not_given_the_ground_truth(tree):
    dataset = open_dataset(tree, "evaluation")
    before = len(pickle.dumps(dataset))
    assert dataset.ground_truth[1].nbytes > 10**4
    assert len(pickle.dumps(views.Subset(dataset, 2))) < before + 10**3
    again = pickle.loads(pickle.dumps(dataset))
    np.testing.assert_array_equal(again.ground_truth[0], dataset.ground_truth[0])


def test_masks_of_a_folder_are_those_of_the_frames_names(tree, tmp_path):
    write_ho3d(tmp_path / "other", train=2, evaluation=1, seed=9)
    below = open_dataset(tree)
    (tmp_path / "masks").mkdir()
    write_masks(tmp_path / "masks", below)
    asked = settings(tree, (str(tree), 1.0, "2d"), (str(tmp_path / "other"), 1.0))
    (tmp_path / "other/train.txt").write_text("TR0/9999\n")  # which has no mask there
    asked.masks = str(tmp_path / "masks")
    mixture = open_training(asked, masks=True)
    assert mixture.masks and isinstance(mixture.datasets[1], HO3D)
    for i in range(len(below)):
        visible = mixture.datasets[0].frame(i).visible
        assert visible[:, : 100 * (i + 1)].all() and not visible[:, 100 * (i + 1) :].any()
    # of a region of the picture, the mask of the region
    whole = below.frame(1)
    part = dataclasses.replace(
        whole, image=whole.image[30:400, 150:], origin=(150, 30), full_size=(640, 480)
    )
    region = views.Masked(views.View(below), tmp_path / "masks")
    region._dataset.frame = lambda i: part
    visible = region.frame(1).visible
    assert visible.shape == (370, 490) and visible[:, :50].all() and not visible[:, 50:].any()
    # who does not ask reads none
    assert open_training(asked).datasets[0].frame(0).visible is None


def test_a_mask_that_is_not_there_or_of_another_size_is_named(tree, tmp_path):
    below = open_dataset(tree)
    asked = settings(tree)
    asked.masks = str(tmp_path)
    with pytest.raises(UserError, match=r"config\.data\.masks: .*0000\.png is not there.* give a"):
        open_training(asked, masks=True)
    write_masks(tmp_path, below, (240, 320))
    (tmp_path / f"{below.names[1]}.png").unlink()
    data = open_training(asked, masks=True).datasets[0]
    with pytest.raises(UserError, match=r"0000\.png: has 320 x 240 .* 640 x 480; give the mask"):
        data.frame(0)
    with pytest.raises(UserError, match=rf"{below.names[1]}\.png: cannot be read .* copy the file"):
        data.frame(1)
