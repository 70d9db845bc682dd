"""Videos in a run of predict: what they leave, together with pictures, and what goes wrong with them."""

import dataclasses
import json
import types
from pathlib import Path

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest
from glb import posed, read_glb
from hands import SIZE, faces, hand
from videos import cut, write_video

import mano_jax
from amvur_jax import inference
from amvur_jax import predict as module
from amvur_jax.detect import detector as detectors
from amvur_jax.detect.detector import DetectedHand
from amvur_jax.errors import UserError
from amvur_jax.files.image import read_image
from amvur_jax.files.video import read_frames
from amvur_jax.hands import video as video_module
from amvur_jax.hands.hand import Hand
from amvur_jax.hands.overlay import overlay
from amvur_jax.hands.reconstruct import Reconstructor
from amvur_jax.predict import check_summary, check_video, predict, told

COUNT, RATE, STEP = 20, 25, 10  # frames, a second; grey of a frame more than the one before it
LINEAR = dataclasses.replace(  # skinning alone
    mano_jax.load_hand(), posedirs=jnp.zeros_like(mano_jax.load_hand().posedirs)
)


@jax.jit
def skinned(model, pose, betas):
    return model.with_shape(betas).with_pose(pose).vertices


class Detector:
    """Sees a hand, and from frame 8 on another one; pictures as bright as frame 15 and more show none."""

    def __init__(self, gone=99):
        self.gone = gone

    def __call__(self, image, thorough=False):
        number = round(float(image.mean()) / STEP)
        if number >= self.gone:
            return []
        return [seen("right", 15)] + [seen("left", 45)] * (number >= 8)

    def follow(self, image, joints_px):
        there = self(image)
        near = [h for h in there if abs(h.joints_px[0, 0] - joints_px[0, 0]) < 10]
        return near[0] if near else seen("right", 15)._replace(score=0.0)


def seen(side, x):
    joints = np.random.default_rng(x).uniform(-8, 8, (21, 2)) + [x, 24]
    joints[0] = x, 24
    box = np.concatenate([joints.min(0), joints.max(0)])
    return DetectedHand(side, 0.9, box, joints, np.zeros(21), np.zeros((21, 3)))


class Made:
    """A reconstructor: the hands that its detector sees, of a model, bent by their frame's brightness."""

    def __init__(self, detector=None):
        self.faces, self.thorough = faces(), False
        self.detector = detector or Detector()
        self.predictor = types.SimpleNamespace(hand=mano_jax.load_hand())
        self.asked = 0

    def sights(self, image, focal=None, boxes=None, focal_source="given"):
        return [hand()]

    def found(self, detected, size):
        assert size == SIZE
        return detected

    def hands(self, sights):
        return [sight if isinstance(sight, Hand) else self._hand(*sight) for sight in sights]

    def _hand(self, image, found, K, focal_source):
        self.asked += 1
        assert focal_source == "assumed"
        return bent(found, float(image.mean()), K)


def bent(detected, grey, K):
    pose = np.zeros((16, 3))
    pose[:, 2] = grey / 200
    pose[0] = 1.0, grey / 100, -2.0
    betas = np.linspace(-1, 1, 10)
    shift = np.array([grey / 1000, 0, 0.6])
    model = LINEAR
    if detected.side == "left":
        pose *= [1, -1, -1]
        flip = jnp.array([-1.0, 1, 1])
        model = dataclasses.replace(
            LINEAR,
            v_template=LINEAR.v_template * flip,
            shapedirs=LINEAR.shapedirs * flip[:, None],
        )
    vertices = np.asarray(skinned(model, pose, betas), np.float64) + shift
    return hand(detected.side)._replace(
        vertices_cam=vertices,
        K=K,
        wrist_rotation=pose[0],
        finger_pose=pose[1:],
        betas=betas,
        translation=shift,
        focal_source="assumed",
        landmarks_px=detected.joints_px,
    )


@pytest.fixture
def clip(tmp_path):
    images = [np.full((SIZE[1], SIZE[0], 3), STEP * i, np.uint8) for i in range(COUNT)]
    return write_video(tmp_path / "clip.mp4", images, RATE)


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    for where in (module, video_module):
        monkeypatch.setattr(where, "overlay", lambda image, hands, faces: image)


def left_by(folder):
    return {p.name for p in folder.iterdir()}


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_video_leaves_its_hands_in_time_an_overlay_and_one_moving_glb(clip, tmp_path):
    out = tmp_path / "out"
    summary = predict(Made(), [clip], out, html=True)
    files = {"clip.glb", "clip_overlay.mp4", "clip_overlay.jpg", "index.html"}
    assert left_by(out) == files | {"hands.jsonl", "hands.npz", "pictures.jsonl"}
    lines = entries(out / "hands.jsonl")
    assert [line["frame"] for line in lines if line["track"] == 0] == list(range(COUNT))
    first = min(line["frame"] for line in lines if line["track"] == 1)
    assert 8 <= first <= 8 + 0.33 * RATE + 1  # soon after it is there
    assert [line["frame"] for line in lines if line["track"] == 1] == list(range(first, COUNT))
    for line in lines:
        assert line["side"] == ("right", "left")[line["track"]]
        assert line["time_s"] == pytest.approx(line["frame"] / RATE, abs=1e-6)
        assert line["focal_source"] == "assumed" and line["image_size"] == list(SIZE)
    with np.load(out / "hands.npz") as arrays:
        assert arrays["track"].tolist() == [line["track"] for line in lines]
    (entry,) = entries(out / "pictures.jsonl")
    assert (entry["hands"], entry["frames"], entry["tracks"]) == (len(lines), COUNT, 2)
    # the file that moves says what the lines say
    tree, arrays = read_glb((out / "clip.glb").read_bytes())
    for line in lines:
        mesh = posed(tree, arrays, line["time_s"])[f"{line['side']} hand {line['track'] + 1} mesh"]
        np.testing.assert_allclose(mesh * [1, -1, -1], line["vertices_cam"], atol=2e-5)
    drawn = [frame.time_s for frame in read_frames(out / "clip_overlay.mp4")]
    np.testing.assert_allclose(drawn, np.arange(COUNT) / RATE, atol=1e-3)
    # of the first frame with both hands
    assert round(read_image(out / "clip_overlay.jpg").mean() / STEP) == first
    assert "2 hands in 1 videos" in (out / "index.html").read_text()
    said = told(summary)
    assert f"2 hands followed through {COUNT} frames" in said and "clip_overlay.mp4" in said
    check_summary(summary, several=False)


def test_videos_go_among_pictures_and_a_bad_one_is_named_and_left_out(clip, tmp_path, capsys):
    PIL.Image.new("RGB", SIZE).save(tmp_path / "clip.png")
    (tmp_path / "bad.mov").write_bytes(b"nothing")
    paths = [clip, tmp_path / "bad.mov", tmp_path / "clip.png"]
    summary = predict(Made(), paths, tmp_path / "out", draw=False)
    assert left_by(tmp_path / "out") == {
        "clip.glb",
        "clip_2.glb",  # of the same name
        *("hands.jsonl", "hands.npz", "pictures.jsonl"),
    }
    assert "bad.mov: cannot be opened as a video" in capsys.readouterr().err
    told_places = "in 1 pictures and 20 frames of 1 videos, 2 followed, 1 left out"
    assert told(summary).endswith(told_places)
    with pytest.raises(UserError, match=r"1 pictures could not be used .*bad\.mov"):
        check_summary(summary, several=True)
    kinds = {(Path(line["picture"]).name) for line in entries(tmp_path / "out" / "hands.jsonl")}
    assert kinds == {"clip.mp4", "clip.png"}


def test_of_a_video_that_ends_early_what_is_there_is_kept_and_it_is_said(clip, tmp_path, capsys):
    path = tmp_path / "early.mp4"
    noise = np.random.default_rng(0)
    images = [
        np.clip(STEP * i + noise.normal(0, 3, (SIZE[1], SIZE[0], 3)), 0, 255).astype(np.uint8)
        for i in range(COUNT)
    ]
    path.write_bytes(cut(write_video(path, images, RATE).read_bytes(), 0.5))
    summary = predict(Made(), [path], tmp_path / "out")
    (entry,) = entries(tmp_path / "out" / "pictures.jsonl")
    assert 2 <= entry["frames"] < COUNT
    said = f"early.mp4: ends after {entry['frames']} of the {COUNT} frames that it says it has"
    assert said in capsys.readouterr().err and len(summary.early) == 1
    check_summary(summary, several=False)


def test_a_video_without_a_hand_is_an_error_if_it_is_alone(clip, tmp_path):
    summary = predict(Made(Detector(gone=0)), [clip], tmp_path / "out")
    check_summary(summary, several=True)
    with pytest.raises(UserError, match=r"clip\.mp4: no hand was found; .*--detect=thorough$"):
        check_summary(summary, several=False)
    assert left_by(tmp_path / "out") == {"hands.jsonl", "hands.npz", "pictures.jsonl"}


def test_a_video_is_written_before_the_next_one_is_followed(clip, tmp_path, monkeypatch):
    """Also where there are so many that pictures would wait for one another."""
    black = [np.zeros((SIZE[1], SIZE[0], 3), np.uint8)] * 5
    paths = [write_video(tmp_path / f"{i}.mp4", black) for i in range(18)]
    written, whole = [], module.track_hands

    def followed(*asked):
        written.append(len(list((tmp_path / "out").glob("*.glb"))))
        return whole(*asked)

    monkeypatch.setattr(module, "track_hands", followed)
    predict(Made(), paths, tmp_path / "out", draw=False)
    assert written == list(range(18))


def test_a_stopped_video_is_done_again_as_a_whole(clip, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole", tmp_path / "out"
    other = write_video(tmp_path / "other.mp4", [np.zeros((SIZE[1], SIZE[0], 3), np.uint8)] * 5)
    predict(Made(), [other, clip], whole)
    made = Made()
    hands = made.hands

    def stopped(sights):
        if made.asked > 10:  # of the second video some are written
            raise KeyboardInterrupt
        return hands(sights)

    made.hands = stopped
    with pytest.raises(KeyboardInterrupt):
        predict(made, [other, clip], out)
    assert not [p for p in out.iterdir() if ".part" in p.name]
    assert len(entries(out / "hands.jsonl")) > 5 and len(entries(out / "pictures.jsonl")) == 1
    again = Made()
    summary = predict(again, [other, clip], out, resume=True)
    assert summary.earlier == 1 and again.asked == len(entries(whole / "hands.jsonl")) - 5
    for name in ("hands.jsonl", "pictures.jsonl", "clip.glb"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert left_by(out) == left_by(whole)


def test_a_full_disk_is_named_and_what_is_whole_stays(clip, tmp_path, monkeypatch):
    def full(path, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(video_module, "write_whole", full)
    with pytest.raises(UserError, match=r"at .*clip\.mp4 \(1 pictures are not done.*No space"):
        predict(Made(), [clip], tmp_path / "out")
    assert entries(tmp_path / "out" / "pictures.jsonl") == []


def test_smoothing_is_on_unless_it_is_said(clip, tmp_path, monkeypatch):
    noise = np.random.default_rng(0)
    follow = Detector.follow

    def shaky(self, image, joints_px):
        found = follow(self, image, joints_px)
        return found._replace(joints_px=found.joints_px + noise.normal(0, 0.3, (21, 2)))

    monkeypatch.setattr(Detector, "follow", shaky)
    jitter = {}
    for smooth in (True, False):
        out = tmp_path / str(smooth)
        predict(Made(), [clip], out, draw=False, smooth=smooth)
        marks = [x["landmarks_px"] for x in entries(out / "hands.jsonl") if x["track"] == 0]
        jitter[smooth] = np.abs(np.diff(marks, axis=0)).mean()
    assert jitter[True] < 0.6 * jitter[False]


def test_boxes_and_no_detector_are_refused_before_anything_is_written(clip, tmp_path):
    with pytest.raises(UserError, match=r"clip\.mp4: is a video.*--box"):
        predict(Made(), [clip], tmp_path / "out", boxes={})
    with pytest.raises(UserError, match=r"clip\.mp4: is a video.*--detect=none"):
        check_video(clip, boxes=False, detector=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_whole_path_follows_a_photograph_that_moves(tmp_path, monkeypatch):
    photos = Path(module.__file__).parent / "assets" / "photos"
    label = json.loads((photos / "hands.json").read_text())[0]
    photo = read_image(photos / label["file"])
    border, count = 120, 30
    wide = cv2.copyMakeBorder(photo, *[border] * 4, cv2.BORDER_REPLICATE)
    size = np.array(photo.shape[1::-1]) // 2 * 2
    # A window that goes about; the label's joints as it shows them.
    turn = 2 * np.pi * np.arange(count) / count
    corners = np.rint(border + 60 * np.stack([np.cos(turn), np.sin(turn)], -1)).astype(int)
    truth = np.array(label["joints"]) + border - corners[:, None]
    images = [wide[y : y + size[1], x : x + size[0]] for x, y in corners]
    clip = write_video(tmp_path / "clip.mp4", images, 30)
    monkeypatch.setattr(video_module, "overlay", overlay)
    reconstructor = Reconstructor(inference.load(), detectors.Detector())
    jitter = {}
    for smooth in (True, False):
        out = tmp_path / str(smooth)
        predict(reconstructor, [clip], out, smooth=smooth, draw=smooth)
        lines = entries(out / "hands.jsonl")
        assert [line["frame"] for line in lines] == list(range(count))
        assert {(line["track"], line["side"]) for line in lines} == {(0, label["hand"])}
        length = np.ptp(truth[0], axis=0).max()
        for name, most in (("landmarks_px", 0.06), ("joints_px", 0.12)):
            found = np.array([line[name] for line in lines])
            assert np.linalg.norm(found - truth, axis=-1).mean() < most * length, name
        # what neither the picture's own way nor a constant error explains
        off = np.array([line["landmarks_px"] for line in lines]) - truth
        jitter[smooth] = np.linalg.norm(np.diff(off, 2, axis=0), axis=-1).mean()
        tree, arrays = read_glb((out / "clip.glb").read_bytes())
        for line in lines[::7]:
            (mesh,) = posed(tree, arrays, line["time_s"]).values()
            off_mm = 1000 * np.linalg.norm(mesh * [1, -1, -1] - line["vertices_cam"], axis=-1)
            assert off_mm.mean() < 4 and off_mm.max() < 15
    assert jitter[True] < jitter[False]
    drawn = list(read_frames(tmp_path / "True" / "clip_overlay.mp4"))
    assert len(drawn) == count
    assert np.abs(drawn[0].image.mean((0, 1)) - images[0].mean((0, 1))).max() > 3  # a hand is there
