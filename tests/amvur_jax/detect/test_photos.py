"""A zip or a folder of pictures becomes a folder that training reads; what lies in a zip is not trusted."""

import io
import json
import pathlib
import shutil
import zipfile
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest

from amvur_jax.data.open import open_dataset
from amvur_jax.detect import photos
from amvur_jax.detect.detector import Detector
from amvur_jax.detect.photos import label_photos
from amvur_jax.detect.tips import landmark_tips
from amvur_jax.errors import UserError

RECORDED = pathlib.Path(__file__).parents[2] / "recorded" / "photos"
HANDS = json.loads((RECORDED / "hands.json").read_text())
PICTURES = [(RECORDED / hand["file"]).read_bytes() for hand in HANDS]
BLACK = cv2.imencode(".png", np.zeros((90, 90, 3), np.uint8))[1].tobytes()


def _zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def _huge():
    """A PNG of 400 million pixels in a few bytes."""
    file = io.BytesIO()
    PIL.Image.new("1", (8, 8)).save(file, "PNG")
    data = bytearray(file.getvalue())
    data[16:24] = np.array([20_000, 20_000], ">u4").tobytes()
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


class _Untouched:
    """A detector that is not to be asked."""

    def __call__(self, image):
        raise AssertionError("looked at again")


@pytest.fixture(scope="module")
def detector():
    return Detector(backend="opencv")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, detector):
    """Folder, zip and counts: three hands, two of them under names that lead elsewhere, and no hands."""
    folder = tmp_path_factory.mktemp("photos")
    names = ("../../evil/one.jpg", "/2/hand ü.JPG", "5/5.jpg")
    members = dict(zip(names, PICTURES)) | {
        "none.png": BLACK,
        "cut.jpg": PICTURES[0][:900],
        "huge.png": _huge(),
        "readme.txt": b"no picture",
        "__MACOSX/._one.jpg": b"a note",
    }
    source = _zip(folder / "in.zip", members)
    return folder / "out" / "here", source, label_photos(source, folder / "out" / "here", detector)


def test_the_hands_of_a_zip_are_read_by_training(labelled):
    output, source, counts = labelled
    assert counts == {"labelled": 3, "no hand": 1, "unreadable": 1, "too large": 1}
    dataset = open_dataset(output, "train")
    by_source = {
        hand["source"]: i for i, hand in enumerate(json.loads((output / "hands.json").read_text()))
    }
    for name, hand in zip(("../../evil/one.jpg", "/2/hand ü.JPG", "5/5.jpg"), HANDS):
        frame = dataset.frame(by_source[name])
        joints = np.array(hand["joints"])
        # theirs are landmarks, whose tips lie before the ends of the fingers
        tips = (landmark_tips(frame.joints_px) - joints)[4::4]
        assert np.linalg.norm(tips) < np.linalg.norm((frame.joints_px - joints)[4::4])
        apart = np.linalg.norm(frame.joints_px - joints, axis=1).mean()
        assert apart < 0.05 * np.ptp(joints, axis=0).max() and frame.side == "right"
    # and nothing of it lies anywhere else
    beside = {
        p.relative_to(source.parent).as_posix() for p in source.parent.rglob("*") if p.is_file()
    }
    files = {"in.zip", "out/here/hands.json", "out/here/refused.json"}
    assert beside == files | {f"out/here/{frame}" for frame in dataset.names}
    assert set(json.loads((output / "refused.json").read_text())["refused"]) == {
        "none.png",
        "cut.jpg",
        "huge.png",
    }


def test_started_again_it_looks_at_what_is_new_alone(labelled, tmp_path, detector):
    _, source, counts = labelled
    output, source = tmp_path / "here", shutil.copy(source, tmp_path)
    shutil.copytree(labelled[0], output)
    before = _contents(output)
    assert label_photos(source, output, _Untouched()) == counts
    assert _contents(output) == before
    with zipfile.ZipFile(source, "a") as archive:
        archive.writestr("new.jpg", PICTURES[2])
    with pytest.raises(AssertionError, match="looked at again"):
        label_photos(source, output, _Untouched())
    assert label_photos(source, output, detector)["labelled"] == 4
    names = [hand["source"] for hand in json.loads((output / "hands.json").read_text())]
    assert names[3] == "new.jpg" and len(names) == 4


def test_labels_of_something_else_are_not_added_to(labelled, tmp_path):
    output, _, _ = labelled
    other = _zip(tmp_path / "other.zip", {"a.jpg": PICTURES[0]})
    with pytest.raises(UserError, match=r"has the labels of 'in\.zip'"):
        label_photos(other, output, _Untouched())
    with pytest.raises(UserError, match=r"somebody else's"):
        (tmp_path / "theirs").mkdir()
        (tmp_path / "theirs" / "hands.json").write_bytes(b"[]")
        label_photos(other, tmp_path / "theirs", _Untouched())


def test_a_source_without_a_hand_or_that_is_none_is_named(tmp_path, monkeypatch):
    (tmp_path / "text.zip").write_text("text")
    for name in ("text.zip", "nothing"):
        with pytest.raises(UserError, match="neither a folder nor a zip"):
            label_photos(tmp_path / name, tmp_path / "out", _Untouched())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "large.jpg").write_bytes(PICTURES[0])
    monkeypatch.setattr(photos, "LARGEST", 1000)
    with pytest.raises(UserError, match="1 too large"):
        label_photos(tmp_path / "in", tmp_path / "out", _Untouched())
    with pytest.raises(UserError, match="which is looked through"):
        label_photos(tmp_path / "in", tmp_path / "in" / "out", _Untouched())
