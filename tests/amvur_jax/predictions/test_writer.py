"""pred.zip: what it holds, that it appears whole or not at all, and reading it back."""

import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.predictions.reader import read_predictions
from amvur_jax.predictions.writer import PredictionWriter

# The back order of the data page, copied by hand.
TO_HO3D = [0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3, 4, 8, 12, 16, 20]


@pytest.fixture
def predictions():
    rng = np.random.default_rng(0)
    joints = rng.normal([0, 0, 0.6], 0.05, (3, 21, 3))
    vertices = rng.normal([0, 0, 0.6], 0.05, (3, 778, 3))
    return joints, vertices, rng.normal([0, 0, 0.7], 0.1, (3, 3))


def write(path, predictions, **options):
    with PredictionWriter(path, count=3, **options) as writer:
        for sample in zip(*predictions):
            writer.add(*sample)


def test_ho3d_predictions_are_moved_turned_and_reordered(tmp_path, predictions):
    joints, vertices, wrists = predictions
    write(tmp_path / "new/pred.zip", predictions)
    with zipfile.ZipFile(tmp_path / "new/pred.zip") as file:
        assert file.namelist() == ["pred.json"]
        xyz, verts = json.loads(file.read("pred.json"))
    move = (wrists - joints[:, 0])[:, None]
    flip = np.array([1, -1, -1])
    np.testing.assert_allclose(xyz, ((joints + move) * flip)[:, TO_HO3D], atol=5.1e-7)
    np.testing.assert_allclose(verts, (vertices + move) * flip, atol=5.1e-7)
    np.testing.assert_allclose(np.array(xyz)[:, 0], wrists * flip, atol=5.1e-7)


def test_freihand_predictions_are_written_as_they_are(tmp_path, predictions):
    write(tmp_path / "pred.zip", predictions[:2], layout="freihand")
    xyz, verts = read_predictions(tmp_path / "pred.zip")
    np.testing.assert_allclose(xyz, predictions[0], atol=5.1e-7)
    np.testing.assert_allclose(verts, predictions[1], atol=5.1e-7)


def test_the_same_predictions_make_the_same_bytes(tmp_path, predictions):
    for name in ("a.zip", "b.zip"):
        write(tmp_path / name, predictions)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_unpacked_json_reads_the_same(tmp_path, predictions):
    write(tmp_path / "pred.zip", predictions)
    with zipfile.ZipFile(tmp_path / "pred.zip") as file:
        file.extract("pred.json", tmp_path)
    for a, b in zip(
        read_predictions(tmp_path / "pred.zip"), read_predictions(tmp_path / "pred.json")
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("count", [0, 2, 4])
def test_a_wrong_count_writes_nothing_and_keeps_the_old_file(tmp_path, predictions, count):
    path = tmp_path / "pred.zip"
    path.write_text("old")
    with (
        pytest.raises(UserError, match=rf"3 predictions but the dataset has {count} frames"),
        PredictionWriter(path, count=count) as writer,
    ):
        for sample in zip(*predictions):
            writer.add(*sample)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["pred.zip"]


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_refused_and_nothing_is_left(tmp_path, predictions, which, value):
    predictions[which][1, ..., 2] = value
    with pytest.raises(UserError, match="sample 1 holds NaN or infinity"):
        write(tmp_path / "pred.zip", predictions)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_run_leaves_nothing(tmp_path, predictions):
    with (
        pytest.raises(KeyboardInterrupt),
        PredictionWriter(tmp_path / "pred.zip", count=3) as writer,
    ):
        writer.add(*(part[0] for part in predictions))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_misuse(tmp_path, predictions):
    joints, vertices, wrists = (part[0] for part in predictions)
    writer = PredictionWriter(tmp_path / "pred.zip", count=1)
    with pytest.raises(ValueError, match="shapes"):
        writer.add(joints[:16], vertices, wrists)
    with pytest.raises(ValueError, match="wrist_cam"):
        writer.add(joints, vertices)
    with pytest.raises(ValueError, match="wrist_cam"):
        PredictionWriter(tmp_path / "x.zip", 1, "freihand").add(joints, vertices, wrists)
    with pytest.raises(ValueError, match="expected one of"):
        PredictionWriter(tmp_path / "pred.zip", count=1, layout="coco")


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        PredictionWriter(tmp_path / "file/pred.zip", count=1)


def test_memory_does_not_grow_with_the_samples(tmp_path, predictions):
    count = 60
    tracemalloc.start()
    with PredictionWriter(tmp_path / "pred.zip", count) as writer:
        for _ in range(count):
            writer.add(*(part[0] for part in predictions))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Sixty samples are 1.7 MB of text; what is held is one sample and one block of the copy.
    assert peak < 4 << 20
    assert len(read_predictions(tmp_path / "pred.zip")[0]) == count


XYZ, VERTS = np.zeros((2, 21, 3)).tolist(), np.zeros((2, 778, 3)).tolist()


@pytest.mark.parametrize(
    "text, message",
    [
        (json.dumps([XYZ]), "has ']' where one of ','"),
        (json.dumps([VERTS, XYZ]), r"entry 0 has shape \(778, 3\), expected \(21, 3\)"),
        (json.dumps([XYZ, VERTS[:1]]), "2 lists of joints but 1 of vertices"),
        (json.dumps([XYZ, VERTS, 1]), "has ',' where"),
        ("hello", "has 'h' where"),
    ],
)
def test_files_that_hold_something_else(tmp_path, text, message):
    (tmp_path / "pred.json").write_text(text)
    with pytest.raises(UserError, match=rf"pred\.json.*{message}"):
        read_predictions(tmp_path / "pred.json")


def test_zips_that_hold_something_else_or_are_damaged(tmp_path, predictions):
    path = tmp_path / "pred.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pred.txt", "[]")
    with pytest.raises(UserError, match=r"pred\.zip: holds no \.json"):
        read_predictions(path)
    write(path, predictions)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"pred\.zip"):
        read_predictions(path)
    with pytest.raises(UserError, match="cannot be read"):
        read_predictions(tmp_path / "none.zip")
