"""The page as a browser's parser sees it: what it holds, what it may load, and that names stay text."""

import base64
import hashlib
import json
import os
import tracemalloc
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from hands import hand, leave_run, leave_video, moving
from videos import write_video

from amvur_jax.errors import UserError
from amvur_jax.files.whole import write_picture
from amvur_jax.hands.page import SHOWN, THUMBNAIL, write_page

EVIL = "<img src=x onerror=alert(1)>&amp;\"'</script><b>/<i>.jpg"
LARGE = np.broadcast_to(np.linspace(0, 255, 2000)[:, None].astype(np.uint8), (1500, 2000, 3))


class Page(HTMLParser):
    """The elements of a page, what it loads, the text of its scripts and the rest of its text."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.loaded, self.scripts, self.policy, self.text = [], [], [], "", ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.tags.append(tag)
        self.loaded += [v for k, v in attrs if k in ("src", "srcset", "href", "data", "action")]
        assert not [name for name in values if name.startswith("on")]
        if tag == "script":
            self.scripts.append([values.get("type"), ""])
        if values.get("http-equiv") == "Content-Security-Policy":
            self.policy = values["content"]

    def handle_data(self, data):
        if self.cdata_elem == "script":
            self.scripts[-1][1] += data
        else:
            self.text += data

    def pictures(self):
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


def test_it_holds_the_files_loads_nothing_and_keeps_names_as_text(tmp_path):
    hands = [hand(at=(0, 0, 0.5)), hand("left", (0.1, 0, 0.7), seed=1)]
    stem = EVIL.replace("/", "_").removesuffix(".jpg")
    made = (f"photos/{EVIL}", stem, hands), ("two.jpg", "two", hands[:1])
    parts = leave_run(tmp_path, *made, drawn=LARGE)
    page = Page(write_page(tmp_path, *parts, {EVIL: f"{EVIL}: is truncated"}))
    # The names' tags are none: of those elements the page has its own alone.
    assert page.tags.count("img") == 3 and not {"b", "i"} & set(page.tags)
    # in the list of what is left out; on the button is the name without its folders
    assert page.text.count(EVIL) == 1 and page.text.count(Path(EVIL).name) == 2
    titles = [f"{p['folder']}/{p['title']}" for p in page.pictures()]
    assert titles == [f"photos/{EVIL}", "./two.jpg"]
    assert all(address.startswith("data:") for address in page.loaded) and len(page.loaded) == 3
    for picture, name in zip(page.pictures(), (stem, "two")):
        assert base64.b64decode(picture["glb"]) == (tmp_path / f"{name}.glb").read_bytes()
        assert picture["file"] == f"{name}.glb"
        shown = cv2.imdecode(np.frombuffer(base64.b64decode(picture["overlay"]), np.uint8), 1)
        assert shown.shape == (SHOWN * 3 // 4, SHOWN, 3)
        np.testing.assert_allclose(shown[0, [0, -1]].mean(-1), [0, 255], atol=3)
    for address in page.loaded[1:]:
        data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
        assert cv2.imdecode(np.frombuffer(data, np.uint8), 1).shape[1] == THUMBNAIL


def test_its_policy_forbids_the_network_and_any_script_but_its_own(tmp_path):
    page = Page(write_page(tmp_path, *leave_run(tmp_path, (EVIL, "a", [hand()]))))
    rules = dict(rule.split(maxsplit=1) for rule in page.policy.split("; "))
    assert rules["default-src"] == "'none'" and rules["img-src"] == "data:"
    own = [text for kind, text in page.scripts if kind is None]
    hashes = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in own}
    assert len(own) == 2 and "OrbitControls" in own[0]
    assert set(rules["script-src"].split()) == {f"'sha256-{value}'" for value in hashes}


def test_its_numbers_are_those_of_the_hands(tmp_path):
    own = hand("left", (0.03, -0.02, 0.5), focal=61.5)
    page = Page(write_page(tmp_path, *leave_run(tmp_path, ("a.jpg", "a", [own]))))
    (card,) = page.pictures()[0]["hands"]
    rows = dict(card["rows"])
    assert card["title"] == "left hand 1" and rows["score"] == "0.90"
    assert rows["focal length"] == "62 px, given" and rows["picture"] == "64 x 48 px"
    assert rows["K"] == "61.5, 0, 32; 0, 61.5, 24; 0, 0, 1"
    np.testing.assert_allclose(np.array(rows["betas"].split(", "), float), own.betas, atol=0.0051)
    place = np.array(rows["translation"].removesuffix(" m").split(", "), float)
    np.testing.assert_allclose(place, own.translation, atol=0.000051)
    ring = np.sqrt(np.mean(own.joints_sigma_mm[13:17] ** 2))
    assert f"ring {ring:.1f}" in rows["sigma, mm"]


def test_what_has_no_hand_or_is_no_longer_there_is_said(tmp_path):
    write_picture(tmp_path / "none.png", LARGE)
    entries, lines = leave_run(
        tmp_path,
        (str(tmp_path / "none.png"), "none", []),
        ("gone.jpg", "gone", []),
        ("a.jpg", "a", [hand()]),
    )
    (tmp_path / "a_overlay.jpg").unlink()
    page = Page(write_page(tmp_path, entries, lines))
    assert "1 hands in 3 pictures, 2 without one" in page.text
    none, gone, lost = page.pictures()
    assert none["alt"] == gone["alt"] == "no hand was found" and not (none["glb"] or none["hands"])
    assert lost["overlay"] is None and "no longer" in lost["alt"] and lost["glb"]
    assert page.tags.count("img") == 2  # the thumbnail of none.png and the place of the overlay


def test_of_a_video_are_its_moving_glb_a_frame_and_a_table_for_each_track(tmp_path):
    frames = moving(10, rate=4.0)
    entry, lines = leave_video(tmp_path, "clips/a.mp4", "a", frames)
    entries, others = leave_run(tmp_path, ("b.jpg", "b", [hand(), hand("left")]))
    page = Page(write_page(tmp_path, [entry, *entries], [*lines, *others]))
    assert "4 hands in 1 pictures and 1 videos" in page.text and "video, 10 frames" in page.text
    video, photo = page.pictures()
    assert [card["title"] for card in photo["hands"]] == ["right hand 1", "left hand 2"]
    assert video["alt"] == "hands drawn over a frame of the video: 1 left, 1 right"
    assert base64.b64decode(video["glb"]) == (tmp_path / "a.glb").read_bytes()
    assert page.tags.count("img") == 3 and video["overlay"]
    assert [card["title"] for card in video["hands"]] == ["right hand 1", "left hand 2"]
    for card, track, seen, time in zip(
        video["hands"], (0, 1), (10, 5), ("0.00 to 2.25 s", "1.25 to 2.25 s")
    ):
        rows, own = dict(card["rows"]), [dict(hands).get(track) for _, hands in frames]
        own = [one for one in own if one is not None]
        assert rows["seen"] == f"in {seen} of 10 frames" and rows["time"] == time
        assert float(rows["mean score"]) == pytest.approx(
            np.mean([h.score for h in own]), abs=0.0051
        )
        thumb = [one.joints_sigma_mm[j] ** 2 for one in own for j in range(1, 5)]
        assert f"thumb {np.mean(thumb) ** 0.5:.1f}," in rows["sigma, mm"]
    # the scale is that of what is shown: of the track's mean
    mean = np.mean([dict(hands)[0].vertices_sigma_mm for _, hands in frames], 0)
    alone = write_page(tmp_path, [entry], [x for x in lines if x["track"] == 0]).read_text("utf-8")
    assert f'data-low="{mean.min():.0f}" data-high="{mean.max():.0f}"' in alone


def test_neither_the_page_nor_the_memory_grows_with_a_videos_frames(tmp_path):
    entry, (line, *_) = leave_video(tmp_path, "a.mp4", "a", moving(3))
    sizes, peaks = [], []
    for count in (50, 300):
        read = (dict(json.loads(json.dumps(line)), frame=i, time_s=i / 30) for i in range(count))
        tracemalloc.start()
        made = write_page(tmp_path, [entry | {"frames": count}], read)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(made.stat().st_size)
    # 250 more lines of 3,500 numbers are 15 MB
    assert peaks[1] - peaks[0] < 1e6 and sizes[1] - sizes[0] < 100


def test_of_a_video_without_an_overlay_the_first_frame_is_shown(tmp_path):
    clip = write_video(tmp_path / "a.mp4", [np.full((48, 64, 3), 90, np.uint8)] * 3)
    entry = {"picture": str(clip), "name": "a", "hands": 0, "frames": 3, "tracks": 0}
    gone = entry | {"picture": "gone.mp4", "name": "gone"}
    page = Page(write_page(tmp_path, [entry, gone], []))
    (address,) = [address for address in page.loaded if address.startswith("data:image")]
    data = base64.b64decode(address.removeprefix("data:image/jpeg;base64,"))
    thumbnail = cv2.imdecode(np.frombuffer(data, np.uint8), 1)
    assert thumbnail.shape == (48, 64, 3) and abs(thumbnail.mean() - 90) < 3
    assert [p["alt"] for p in page.pictures()] == ["no hand was found"] * 2


def test_a_run_of_nothing_is_a_page(tmp_path):
    bad = os.fsdecode(b"\xff.jpg")
    page = Page(write_page(tmp_path, [], [], {Path(bad): f"{bad}: is truncated"}))
    assert "\\xff.jpg: is truncated" in page.text
    assert "0 hands in 0 pictures" in page.text and not page.pictures()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda entries, lines: lines[1].pop("betas"), "hands.jsonl: line 2: no 'betas'"),
        (lambda entries, lines: lines[0].update(K=[1]), "hands.jsonl: line 1: "),
        (lambda entries, lines: entries[0].pop("name"), "pictures.jsonl: no 'name'"),
        (
            lambda entries, lines: entries[0].update(name="../x"),
            "pictures.jsonl: '../x' is no file",
        ),
        (lambda entries, lines: entries[0].update(frames="x"), "pictures.jsonl: invalid literal"),
        (lambda entries, lines: entries[0].update(frames=2), "pictures.jsonl: no 'tracks'"),
    ],
)
def test_damaged_entries_are_named_and_nothing_is_left(tmp_path, change, words):
    entries, lines = leave_run(tmp_path, ("a.jpg", "a", [hand(), hand()]))
    change(entries, lines)
    with pytest.raises(UserError, match=f"^{words}.*--overwrite"):
        write_page(tmp_path, entries, lines)
    assert not list(tmp_path.glob("index*"))
