"""Videos and pictures become a folder that training reads; killed or corrected by hand, it goes on."""

import csv
import io
import json
import os
import pathlib
import shutil
import zipfile
import zlib

import cv2
import numpy as np
import PIL.Image
import pytest
from scripted import Scripted, at, picture, video
from videos import write_video

from amvur_jax import inference
from amvur_jax import label as module
from amvur_jax.data.open import open_dataset, open_training
from amvur_jax.data.readers.hands_csv import COLUMNS, read_hands
from amvur_jax.detect.detector import Detector
from amvur_jax.detect.tips import finger_ends, landmark_tips
from amvur_jax.errors import UserError
from amvur_jax.evaluate import evaluate
from amvur_jax.files.image import read_image
from amvur_jax.label import label
from amvur_jax.labels import sources

RECORDED = pathlib.Path(__file__).parents[1] / "recorded" / "photos"
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
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


class _Untouched:
    """A detector that is not to be asked."""

    def __call__(self, image, thorough=False):
        raise AssertionError("looked at again")


def moving(i):
    """A right hand, and from frame 20 on a left one."""
    hands = [at("right", 30 + i / 3, 64)]
    return hands + [at("left", 130 - i / 4, 64)] * (i >= 20)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Videos of 100 frames, of one, and of 30."""
    folder = tmp_path_factory.mktemp("clips")
    return [video(folder / f"{count}.avi", count) for count in (100, 1, 30)]


@pytest.fixture(scope="module")
def mine(clips, tmp_path_factory):
    """A labelled folder of a video, and what was said."""
    output = tmp_path_factory.mktemp("mine") / "data"
    return output, label(clips[:1], output, Scripted(moving))


def test_a_video_becomes_what_training_and_evaluation_read(mine):
    output, lines = mine
    train, held = (open_dataset(output, split) for split in ("train", "evaluation"))
    assert max(h.frame for h in train.hands) < min(h.frame for h in held.hands) - 5
    assert {h.side for h in train.hands} == {"right", "left"}
    for dataset in (train, held):
        for i, hand in enumerate(dataset.hands):
            frame, expected = dataset.frame(i), moving(hand.frame)[hand.hand]
            joints = finger_ends(expected.joints_px)
            inside = ((joints >= 0) & (joints <= [160, 128])).all(-1)
            np.testing.assert_allclose(frame.joints_px, joints, atol=0.006)
            np.testing.assert_allclose(frame.confidence, 0.9 * inside, atol=1e-3)
            # the picture is that of the frame
            assert np.abs(frame.image.astype(int) - picture(hand.frame)).mean() < 8
    assert lines[0].startswith("100.avi: 100 frames, 100 with hands; ")
    assert any(line.startswith("WARNING: only 30 hands are usable") for line in lines)
    assert {"kept.jpg", "dropped.jpg"} <= {path.name for path in output.iterdir()}


def test_a_mix_reads_it(mine):
    settings = type("Data", (), {"mix": ((str(mine[0]), 1.0, "2d"),), "root": ""})
    frame = open_training(settings).datasets[0].frame(0)
    assert frame.joints_cam is None and frame.confidence.max() > 0.8


class _Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def whole(clips, tmp_path_factory):
    """The files of a run in parts of 35 frames that nothing has stopped."""
    output = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_PART", 7)
        label(clips[:1], output, Scripted(moving))
    return _contents(output)


@pytest.mark.parametrize("at_write", [*range(12), 20, 26, 27, 28, 29, 30])
def test_killed_at_any_time_it_goes_on_to_the_same_files(
    whole, clips, tmp_path, monkeypatch, at_write
):
    """Each file is put in its place by os.replace: the run ends there as kill -9 would end it."""
    monkeypatch.setattr(module, "_PART", 7)
    replace, left = os.replace, [at_write]

    def killed(source, target):
        if left[0] == 0:
            raise _Killed
        left[0] -= 1
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr("os.replace", killed)
        label(clips[:1], tmp_path, Scripted(moving))
    label(clips[:1], tmp_path, Scripted(moving))
    assert _contents(tmp_path) == whole


def test_what_a_person_corrected_stays_when_more_is_added(mine, clips, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(mine[0], output)
    lines = list(csv.reader((output / "hands.csv").read_text().splitlines()))
    lines[3][COLUMNS.index("keep")] = "0"
    lines[4][COLUMNS.index("wrist_x")] = "33.5"
    with open(output / "hands.csv", "w", newline="") as file:
        csv.writer(file).writerows(lines)
    told = label([clips[0], clips[2]], output, Scripted(moving))
    hands = read_hands(output / "hands.csv")
    assert not hands[2].keep and hands[3].joints[0, 0] == 33.5
    assert "1 by hand" in told[0] and told[1].startswith("30.avi: 30 frames")
    before = read_hands(mine[0] / "hands.csv")
    assert [h.split for h in hands[: len(before)]] == [h.split for h in before]
    assert len(hands) > len(before)
    detector = Scripted(moving)
    label([clips[0], clips[2]], output, detector)
    assert not detector.looked


def test_a_video_without_hands_of_one_frame_or_of_several_people_is_said(clips, tmp_path):
    with pytest.raises(UserError, match=r"100\.avi: 100 frames, 0 with hands; 0 hands kept"):
        label(clips[:1], tmp_path / "none", Scripted(lambda i: []))
    (told, *_) = label(clips[1:2], tmp_path / "one", Scripted(moving))
    assert "1 frames, 1 with hands; 1 hands kept" in told and "no motion can be measured" in told
    people = Scripted(lambda i: [at("right", 30 + i / 3, 64), at("right", 130 - i / 4, 64)])
    (told, *_) = label(clips[2:], tmp_path / "several", people)
    assert "30 frames show hands of several people" in told


def test_enough_hands_are_no_warning(tmp_path, monkeypatch, clips):
    monkeypatch.setattr(module, "FEW", 30)
    lines = label(clips[:1], tmp_path / "out", Scripted(moving))
    assert not any("WARNING" in line for line in lines)


def test_another_every_or_another_video_of_the_name_is_refused(mine, clips, tmp_path):
    output = tmp_path / "data"
    shutil.copytree(mine[0], output)
    with pytest.raises(UserError, match="--every=5; repeat it"):
        label(clips[:1], output, Scripted(moving), every=3)
    other = video(tmp_path / clips[0].name, 12)
    with pytest.raises(UserError, match=r"another 100\.avi"):
        label([other], output, Scripted(moving))
    with pytest.raises(UserError, match=r"two of them are called 100\.avi"):
        label([clips[0], other], tmp_path / "out", Scripted(moving))
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(UserError, match=r"broken\.mp4: cannot be opened as a video"):
        label([tmp_path / "broken.mp4"], tmp_path / "out", Scripted(moving))


def test_large_frames_are_made_smaller_and_the_labels_with_them(tmp_path):
    large = [cv2.resize(picture(i), (1600, 1280)) for i in range(3)]
    path = write_video(tmp_path / "large.avi", large)

    class Detected(Scripted):
        def __call__(self, image, thorough=False):
            assert image.shape == (1024, 1280, 3)
            return super().__call__(cv2.resize(image, (160, 128), interpolation=cv2.INTER_AREA))

        def follow(self, image, joints_px):
            return super().follow(cv2.resize(image, (160, 128)), joints_px)

        def mirrored(self, image, hand):
            return hand

    label([path], tmp_path / "out", Detected(lambda i: [at("right", 60, 64)]))
    frame = open_dataset(tmp_path / "out").frame(0)
    assert frame.image.shape == (1024, 1280, 3)


def test_the_folder_that_one_is_in_has_a_name(clips, tmp_path, monkeypatch):
    (tmp_path / "film").mkdir()
    shutil.copy(clips[2], tmp_path / "film" / "day 1.avi")
    monkeypatch.chdir(tmp_path / "film")
    (told, *_) = label(["."], tmp_path / "out", Scripted(moving))
    assert told.startswith("film/day_1.avi: 30 frames")


def test_a_folder_has_a_sequence_for_each_folder_and_video(clips, tmp_path):
    root = tmp_path / "in"
    for i in range(40):
        folder = root / f"day {i % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{i:02d}.png"), picture(i)[..., ::-1])
    shutil.copy(clips[2], root)
    lines = label([root], tmp_path / "out", Scripted(moving))
    assert [line.split(":")[0] for line in lines[:3]] == ["in/30.avi", "in/day_0", "in/day_1"]
    assert "too few to hold whole ones back" in "\n".join(lines)
    cv2.imwrite(str(root / "day 1" / "99.png"), picture(99)[..., ::-1])
    with pytest.raises(UserError, match="in/day_1, or it has changed since"):
        label([root], tmp_path / "out", Scripted(moving))


@pytest.fixture(scope="module")
def detector():
    return Detector(backend="opencv")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory, detector):
    """Folder, zip and what was said: three hands, two of them under names that lead elsewhere."""
    folder = tmp_path_factory.mktemp("photos")
    names = ("../../evil/one.jpg", "/2/hand ü.JPG", "5/5.jpg")
    members = dict(zip(names, PICTURES)) | {
        "none.png": BLACK,
        "cut.jpg": PICTURES[0][:900],
        "huge.png": _huge(),
        "readme.txt": b"no picture",
        "__MACOSX/._one.jpg": b"a note",
    }
    source, output = _zip(folder / "in.zip", members), folder / "out" / "here"
    return output, source, label([source], output, detector, evaluation=0.0)


def test_the_hands_of_a_zip_are_read_by_training(labelled):
    output, source, lines = labelled
    assert lines[:4] == [
        "in.zip/evil: 1 pictures, 1 with hands; 1 hands kept",
        "in.zip/2: 1 pictures, 1 with hands; 1 hands kept",
        "in.zip/5: 1 pictures, 1 with hands; 1 hands kept",
        "in.zip: 3 pictures, 0 with hands; 0 hands kept; 1 unreadable; 1 too large",
    ]
    dataset = open_dataset(output, "train")
    by_sequence = {hand.sequence: i for i, hand in enumerate(dataset.hands)}
    for name, hand in zip(("in.zip/evil", "in.zip/2", "in.zip/5"), HANDS):
        frame = dataset.frame(by_sequence[name])
        joints = np.array(hand["joints"])
        # theirs are landmarks, whose tips lie before the ends of the fingers
        tips = (landmark_tips(frame.joints_px) - joints)[4::4]
        assert np.linalg.norm(tips) < np.linalg.norm((frame.joints_px - joints)[4::4])
        apart = np.linalg.norm(frame.joints_px - joints, axis=1).mean()
        assert apart < 0.05 * np.ptp(joints, axis=0).max() and frame.side == "right"
        assert frame.confidence.max() > 0.9 and frame.confidence.mean() > 0.6
    # and nothing of it lies anywhere else
    beside = {
        p.relative_to(source.parent).as_posix() for p in source.parent.rglob("*") if p.is_file()
    }
    files = {"in.zip", *(f"out/here/{n}" for n in ("hands.csv", "label.json", "kept.jpg"))}
    assert beside == files | {f"out/here/{frame}" for frame in dataset.names}


def test_started_again_it_looks_at_nothing_twice(labelled):
    output, source, lines = labelled
    before = _contents(output)
    assert label([source], output, _Untouched(), evaluation=0.0) == [
        line for line in lines if line != "  all are for training"
    ]
    assert _contents(output) == before


def test_labels_of_something_else_are_not_added_to(tmp_path):
    source = _zip(tmp_path / "in.zip", {"a.jpg": PICTURES[0]})
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "hands.json").write_bytes(b"[]")
    with pytest.raises(UserError, match=r"somebody else's"):
        label([source], tmp_path / "theirs", _Untouched())
    (tmp_path / "theirs" / "label.json").write_bytes(b"[]")
    with pytest.raises(UserError, match=r"label\.json: cannot be read"):
        label([source], tmp_path / "theirs", _Untouched())


def test_a_source_without_a_hand_or_that_is_none_is_named(tmp_path, monkeypatch):
    (tmp_path / "text.zip").write_text("text")
    for name in ("text.zip", "nothing"):
        with pytest.raises(UserError, match="no video, no folder and no zip"):
            label([tmp_path / name], tmp_path / "out", _Untouched())
    with pytest.raises(UserError, match=r"gone\.mp4: there is no such video"):
        label([tmp_path / "gone.mp4"], tmp_path / "out", _Untouched())
    (tmp_path / "in").mkdir()
    with pytest.raises(UserError, match="holds no video and no picture"):
        label([tmp_path / "in"], tmp_path / "out", _Untouched())
    (tmp_path / "in" / "large.jpg").write_bytes(PICTURES[0])
    monkeypatch.setattr(sources, "LARGEST", 1000)
    with pytest.raises(UserError, match="1 too large"):
        label([tmp_path / "in"], tmp_path / "out", _Untouched())
    with pytest.raises(UserError, match="which is looked through"):
        label([tmp_path / "in"], tmp_path / "in" / "out", _Untouched())


@pytest.mark.slow
def test_the_whole_way_of_a_panned_video_with_the_detector(tmp_path, detector):
    """Photographs of the package, shown one after the other and moved: the labels lie on the hands."""
    photos = pathlib.Path(module.__file__).parent / "assets" / "photos"
    labels = json.loads((photos / "hands.json").read_text())[:3]
    images, truth = [], []
    for entry in labels:
        photo = read_image(photos / entry["file"])
        scale = 200 / max(photo.shape[:2])
        photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        for i in range(30):
            image = np.full((320, 480, 3), 90, np.uint8)
            x, y = 40 + 4 * i, 30 + i
            image[y : y + photo.shape[0], x : x + photo.shape[1]] = photo
            images.append(image)
            truth.append(np.array(entry["joints"]) * scale + [x, y])
    path = write_video(tmp_path / "panned.mp4", images)
    lines = label([path], tmp_path / "mine", detector, every=3)
    assert "WARNING: only" in "\n".join(lines)
    hands = [h for h in read_hands(tmp_path / "mine" / "hands.csv") if h.keep]
    assert len(hands) > 15 and {h.split for h in hands} == {"train", "evaluation"}
    off = [
        np.linalg.norm(landmark_tips(h.joints) - truth[h.frame], axis=-1).mean()
        / np.ptp(h.joints, axis=0).max()
        for h in hands
    ]
    assert np.median(off) < 0.03 and max(off) < 0.08
    scores = evaluate(inference.load(), None, tmp_path / "mine")
    assert scores["hands"] == sum(h.split == "evaluation" for h in hands)
    assert scores["error_of_box"] < 0.3 and scores["pck_0.2"] > 0.5
