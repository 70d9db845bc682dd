"""Anyone's file of predictions: the forms that are read, and the ones that are refused."""

import json
import zipfile

import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.predictions.reader import open_predictions, read_predictions

RNG = np.random.default_rng(0)
JOINTS, VERTICES = RNG.normal(size=(2, 21, 3)), RNG.normal(size=(2, 778, 3))


def check(path, atol=0.0):
    joints, vertices = read_predictions(path)
    assert joints.dtype == vertices.dtype == np.float64
    np.testing.assert_allclose(joints, JOINTS, atol=atol)
    np.testing.assert_allclose(vertices, VERTICES, atol=atol)


def test_a_zip_of_the_folder_that_the_file_is_in(tmp_path):
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as file:
        file.writestr("results/pred.json", json.dumps([JOINTS.tolist(), VERTICES.tolist()]))
        file.writestr("results/readme.txt", "ours")
    check(tmp_path / "theirs.zip")


@pytest.mark.parametrize(
    "names",
    [
        ["pred70.json"],
        ["results/results.json", "results/log.txt"],
        ["out\\pred.json"],
        ["PRED.JSON"],
        ["pred.json", "other.json"],
        ["pred.json", "features.npy"],
        ["pred.json", "__MACOSX/._pred.json"],
    ],
)
@pytest.mark.parametrize("start", ["", "\ufeff"])
def test_the_one_json_of_a_zip_whatever_it_is_called(tmp_path, names, start):
    text = start + json.dumps([JOINTS.tolist(), VERTICES.tolist()])
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as file:
        for i, name in enumerate(names):
            file.writestr(name, "no predictions" if i else text)
    check(tmp_path / "theirs.zip")


@pytest.mark.parametrize("names", [["a.json", "b.json"], ["x/pred.json", "y/pred.json"], ["a.txt"]])
def test_several_jsons_or_none_are_named(tmp_path, names):
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as file:
        for name in names:
            file.writestr(name, "[]")
    with pytest.raises(UserError, match=r"theirs\.zip: holds (2 files|no \.json)"):
        read_predictions(tmp_path / "theirs.zip")


def test_arrays_by_their_shape_whatever_they_are_called(tmp_path):
    np.savez(tmp_path / "a.npz", kp3d=JOINTS, mesh=VERTICES, scores=np.ones(2))
    check(tmp_path / "a.npz")
    np.savez_compressed(tmp_path / "b.npz", j=np.float32(JOINTS), v=np.float32(VERTICES))
    check(tmp_path / "b.npz", atol=1e-6)
    # beside the truth the truth is not what is scored
    np.savez(tmp_path / "c.npz", gt_xyz=0 * JOINTS, gt_v=0 * VERTICES, xyz=JOINTS, v=VERTICES)
    check(tmp_path / "c.npz")


@pytest.mark.parametrize(
    "arrays, message",
    [
        ({"xyz": JOINTS}, r"0 arrays of shape \(N, 778, 3\) among xyz \(2, 21, 3\)"),
        ({"a": JOINTS, "b": JOINTS, "v": VERTICES}, r"2 arrays of shape \(N, 21, 3\)"),
        ({"xyz": JOINTS[:1], "v": VERTICES}, "1 samples of joints but 2 of vertices"),
        (
            {"xyz": JOINTS, "v": np.where(VERTICES > 3, np.inf, VERTICES)},
            "of the vertices holds NaN",
        ),
        ({"xyz": np.array([{}], object), "v": VERTICES}, "plain numbers"),
    ],
)
def test_arrays_that_are_no_predictions(tmp_path, arrays, message):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(UserError, match=rf"a\.npz: .*{message}"):
        read_predictions(tmp_path / "a.npz")


def test_a_zip_whose_names_are_damaged_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("\u00e9.json", "[]")  # said to be UTF-8
    path.write_bytes(path.read_bytes().replace("\u00e9".encode(), b"\xff\xff"))
    with pytest.raises(UserError, match=r"a\.zip: is a damaged"):
        read_predictions(path)


def test_an_error_of_whoever_reads_stays_theirs(tmp_path):
    np.savez(tmp_path / "a.npz", kp3d=JOINTS, mesh=VERTICES)
    with pytest.raises(RuntimeError, match="theirs"), open_predictions(tmp_path / "a.npz"):
        raise RuntimeError("theirs")
