"""A run over pictures: what it leaves, how it goes on, and what it says of what went wrong."""

import json
import os
import re
import sys
import threading
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hands import SIZE, faces, hand

from amvur_jax import predict as module
from amvur_jax.errors import UserError
from amvur_jax.hands.focal import parse_focal
from amvur_jax.predict import check_output, check_summary, predict, told


class Made:
    """A reconstructor that finds as many hands as the first pixel's red, and remembers what it was asked."""

    def __init__(self):
        self.faces, self.asked, self.together = faces(), [], []

    def sights(self, image, focal=None, boxes=None, focal_source="given"):
        self.asked.append((focal, focal_source, boxes))
        if boxes == "off":
            raise UserError("box=1,2,3,4: its middle is outside the picture")
        return [("left" if i else "right", (0, 0, 0.5 + i)) for i in range(image[0, 0, 0])]

    def hands(self, sights):
        self.together.append(len(sights))
        return [hand(*sight) for sight in sights]


@pytest.fixture
def pictures(tmp_path):
    """Pictures of 1, 0 and 2 hands, a damaged one before the last."""
    for name, count in (("one.png", 1), ("none.png", 0), ("sub/one.png", 2)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        PIL.Image.new("RGB", SIZE, (count, 0, 0)).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"nothing")
    return [tmp_path / name for name in ("one.png", "none.png", "bad.png", "sub/one.png")]


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    monkeypatch.setattr(module, "overlay", lambda image, hands, faces: image)


def left_by(folder):
    return {p.name for p in folder.iterdir()}


def entries(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_leaves_numbers_of_all_and_pictures_of_each(pictures, tmp_path, capsys):
    out = tmp_path / "out"
    summary = predict(Made(), pictures, out, kinds=("glb", "obj", "ply"))
    names = {"one", "one_2"}  # of the same name in another folder
    files = {f"{name}{end}" for name in names for end in ("_overlay.jpg", ".glb", ".obj", ".ply")}
    assert left_by(out) == files | {"hands.jsonl", "hands.npz", "pictures.jsonl"}
    found = entries(out / "hands.jsonl")
    assert [(Path(e["picture"]), e["index"], e["side"]) for e in found] == [
        (pictures[0], 0, "right"),
        (pictures[3], 0, "right"),
        (pictures[3], 1, "left"),
    ]
    assert np.load(out / "hands.npz")["picture"].tolist() == [e["picture"] for e in found]
    done = entries(out / "pictures.jsonl")
    assert [(e["name"], e["hands"]) for e in done] == [("one", 1), ("none", 0), ("one_2", 2)]
    # the bad one is named, counted and skipped; the exit code says so
    assert "left out:" in (said := capsys.readouterr().err) and "bad.png" in said
    assert told(summary) == "3 hands in 3 pictures, 1 without a hand, 1 left out"
    with pytest.raises(UserError, match=r"1 pictures could not be used .*bad\.png"):
        check_summary(summary, several=True)


def test_a_picture_is_written_while_the_next_one_is_reconstructed(pictures, tmp_path, monkeypatch):
    class Told(Made):
        def hands(self, sights):
            hands = super().hands(sights)
            if len(self.together) == 2:
                second.set()
            return hands

    second = threading.Event()
    monkeypatch.setattr(module, "overlay", lambda image, *_: image if second.wait(60) else None)
    summary = predict(Told(), pictures[:2], tmp_path / "out")
    assert (summary.pictures, summary.hands) == (2, 1)


def test_the_hands_of_many_pictures_are_reconstructed_together(tmp_path):
    counts = [1, 0, 2, 1, 3, 0, 0, 1, 17, 1] + [1] * 20
    paths = [tmp_path / f"{i}.png" for i in range(len(counts))]
    for path, count in zip(paths, counts):
        PIL.Image.new("RGB", SIZE, (count, 0, 0)).save(path)
    paths[1].write_bytes(b"nothing")
    reconstructor, out = Made(), tmp_path / "out"
    summary = predict(reconstructor, paths, out, kinds=())
    found = [(e["picture"], e["index"], e["side"]) for e in entries(out / "hands.jsonl")]
    assert found == [
        (str(path), i, "left" if i else "right")
        for path, count in zip(paths, counts)
        for i in range(count)
    ]
    assert list(summary.bad) == [paths[1]] and summary.pictures == len(paths) - 1
    # at most 16, but for a picture that has more
    assert reconstructor.together == [8, 17, 16, 5]


def test_few_large_pictures_wait_for_one_another(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PIXELS", 3 * SIZE[0] * SIZE[1])
    paths = [tmp_path / f"{i}.png" for i in range(20)]
    for path in paths:
        PIL.Image.new("RGB", SIZE, (1, 0, 0)).save(path)
    reconstructor = Made()
    predict(reconstructor, paths, tmp_path / "out", kinds=())
    assert reconstructor.together == [3] * 6 + [2]


def test_one_picture_without_a_hand_is_an_error_and_a_folder_of_them_none(pictures, tmp_path):
    summary = predict(Made(), pictures[1:2], tmp_path / "out")
    check_summary(summary, several=True)
    with pytest.raises(UserError, match=r"none\.png: no hand was found; .*--box"):
        check_summary(summary, several=False)
    assert left_by(tmp_path / "out") == {"hands.jsonl", "hands.npz", "pictures.jsonl"}
    summary = predict(Made(), pictures[2:3], tmp_path / "bad")
    with pytest.raises(UserError, match=r"^.*bad\.png: is truncated"):
        check_summary(summary, several=False)


def test_what_is_there_stays_unless_it_is_said(pictures, tmp_path):
    out = tmp_path / "out"
    predict(Made(), pictures[:1], out)
    before = (out / "hands.jsonl").read_bytes()
    for check in (lambda: check_output(out, False, False), lambda: predict(Made(), pictures, out)):
        with pytest.raises(UserError, match=r"has results already; .*--resume.*--overwrite"):
            check()
    assert (out / "hands.jsonl").read_bytes() == before
    predict(Made(), pictures[3:], out, overwrite=True)
    assert [e["name"] for e in entries(out / "pictures.jsonl")] == ["one"]
    assert len(entries(out / "hands.jsonl")) == 2


def test_a_stopped_run_goes_on_to_the_same_files(pictures, tmp_path):
    whole, out = tmp_path / "whole", tmp_path / "out"
    predict(Made(), pictures, whole)
    predict(Made(), pictures[:2], out)
    with open(out / "hands.jsonl", "ab") as file:  # killed within the next picture
        file.write((whole / "hands.jsonl").read_bytes().splitlines(keepends=True)[1])
        file.write(b'{"picture":')
    again = Made()
    summary = predict(again, pictures, out, resume=True)
    assert len(again.asked) == 1 and summary.earlier == 2 and "2 done before" in told(summary)
    for name in ("hands.jsonl", "pictures.jsonl"):
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert left_by(out) == left_by(whole)


def test_a_page_of_a_resumed_run_has_all_that_the_folder_has(pictures, tmp_path):
    out = tmp_path / "out"
    predict(Made(), pictures[:2], out, html=True)
    said = told(predict(Made(), pictures, out, resume=True, html=True))
    text = (out / "index.html").read_text()
    assert "3 hands in 3 pictures" in text and "1 left out" in text
    for path in (pictures[0], pictures[1], pictures[3]):
        assert f'"title":"{path.name}","folder":"{path.parent}"' in text
    assert f"{out / 'index.html'}: {len(text.encode()) / 1e6:.1f} MB" in said


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8_is_escaped_and_known_again(pictures, tmp_path):
    odd, out = tmp_path / os.fsdecode(b"\xffo\xcc\x88.png"), tmp_path / "out"
    pictures[0].rename(odd)
    predict(Made(), [odd], out, html=True)
    (hand,), (done,) = entries(out / "hands.jsonl"), entries(out / "pictures.jsonl")
    # the byte that is none as \xff, the others as they are
    assert hand["picture"] == done["picture"] == f"{tmp_path}/\\xffo\u0308.png"
    assert done["name"] == "\\xffo\u0308" and (out / "\\xffo\u0308.glb").is_file()
    assert "\\\\xffo\u0308.png" in (out / "index.html").read_text("utf-8")
    again = Made()
    assert predict(again, [odd], out, resume=True).earlier == 1 and not again.asked


def test_the_focal_length_is_the_flags_else_the_pictures_own(pictures, tmp_path):
    exif = PIL.Image.Exif()
    exif.get_ifd(0x8769)[0xA405] = 26
    PIL.Image.new("RGB", SIZE).save(tmp_path / "phone.jpg", exif=exif)
    paths, made = [tmp_path / "phone.jpg", pictures[0]], Made()
    predict(made, paths, tmp_path / "a")
    predict(made, paths, tmp_path / "b", focal=parse_focal("900"), boxes={paths[1]: []})
    assert made.asked == [
        ((26, "mm"), "exif", None),
        (None, "assumed", None),
        ((900, "px"), "given", None),
        ((900, "px"), "given", []),
    ]


def test_a_box_that_does_not_fit_leaves_out_its_picture_alone(pictures, tmp_path):
    boxes = {pictures[0]: "off"}
    summary = predict(Made(), [pictures[0], pictures[3]], tmp_path / "out", boxes=boxes)
    assert (summary.hands, list(summary.bad)) == (2, pictures[:1])
    # where nothing came of it, nothing is in the way of the next try
    predict(Made(), pictures[:1], tmp_path / "none", boxes=boxes)
    check_output(tmp_path / "none", False, False)


def test_a_full_disk_leaves_what_is_whole_and_names_the_rest(pictures, tmp_path, monkeypatch):
    out, write = tmp_path / "out", module.write_whole

    def full(path, data):
        if path.name == "one_2.glb":
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(module, "write_whole", full)
    with pytest.raises(
        UserError, match=r"at .*sub/one\.png \(1 pictures are not done; --resume .*No space"
    ):
        predict(Made(), [pictures[0], pictures[3]], out)
    assert [e["name"] for e in entries(out / "pictures.jsonl")] == ["one"]
    assert len(entries(out / "hands.jsonl")) == 1
    assert not [p for p in out.iterdir() if p.suffix == ".part"]


def test_sigma_is_said_of_one_picture(pictures, tmp_path):
    said = told(predict(Made(), pictures[:1], tmp_path / "out"))
    sigma = hand().joints_sigma_mm
    index = np.sqrt((sigma[5:9] ** 2).mean())
    assert re.search(rf"mm \(calibrated\): thumb .*index {index:.0f},", said)
    assert str(tmp_path / "out" / "one.glb") in said
