"""Which pictures are meant, and the boxes that a user knows of them."""

import json
from pathlib import Path

import numpy as np
import pytest

from amvur_jax.errors import UserError
from amvur_jax.hands.pictures import boxes_of, find_pictures, parse_box, read_boxes
from amvur_jax.hands.reconstruct import Box


@pytest.fixture
def folder(tmp_path):
    overlays = ("a_overlay.jpg", "f_overlay.mp4")
    for name in ("b.jpg", "a.PNG", "f.MOV", "notes.txt", "c,d.jpg", "sub/e.webp", *overlays):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(found):
    return [path.name for path in found.paths], found.several


def test_pictures_are_found_by_path_folder_glob_and_list(folder):
    assert names(find_pictures(str(folder))) == (["a.PNG", "b.jpg", "c,d.jpg", "f.MOV"], True)
    assert names(find_pictures(f"{folder}/b.jpg")) == (["b.jpg"], False)
    assert names(find_pictures(f"{folder}/c,d.jpg")) == (["c,d.jpg"], False)
    assert names(find_pictures(f"{folder}/**/*.webp")) == (["e.webp"], True)
    both = f"{folder}/b.jpg,{folder}/sub,{folder}/b.jpg"
    assert names(find_pictures(both)) == (["b.jpg", "e.webp"], True)
    assert names(find_pictures("-", ["x.jpg\n", "\n", "y.png"])) == (["x.jpg", "y.png"], True)
    # one that is missing is named where it is read
    assert names(find_pictures("missing.jpg")) == (["missing.jpg"], False)


@pytest.mark.parametrize("text", ["sub/nothing*.jpg", "empty", "-", ","])
def test_no_picture_is_said(folder, text, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="there is no picture"):
        find_pictures(text)


def test_a_box_is_four_numbers():
    np.testing.assert_array_equal(parse_box("1,2,3.5,4"), [1, 2, 3.5, 4])
    for text in ("1,2,3", "3,2,1,4", "1,2,nan,4", "a,b,c,d", ""):
        with pytest.raises(UserError, match="--box="):
            parse_box(text)


def test_boxes_of_both_formats_are_the_same(tmp_path):
    rows = [
        ("b.jpg", 1, 2, 3, 4, "left"),
        ("b.jpg", 5, 6, 7, 8, ""),
        ("sub/e.webp", 1, 1, 2, 2, "Right"),
    ]
    keys = ("picture", "x1", "y1", "x2", "y2", "side")
    lines = [", ".join(map(str, row)) for row in (keys, *rows)]
    (tmp_path / "boxes.csv").write_text("\ufeff" + "\r\n".join(lines))
    (tmp_path / "boxes.json").write_text(json.dumps([dict(zip(keys, row)) for row in rows]))
    short = [{"picture": row[0], "box": row[1:5], "side": row[5] or None} for row in rows]
    (tmp_path / "short.json").write_text(json.dumps(short))
    for name in ("boxes.csv", "boxes.json", "short.json"):
        found = read_boxes(tmp_path / name)
        assert [(picture, box.side) for picture, box in found] == [
            ("b.jpg", "left"),
            ("b.jpg", None),
            ("sub/e.webp", "right"),
        ]
        np.testing.assert_array_equal([box.box for _, box in found], [row[1:5] for row in rows])


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("b.csv", "picture,x1,y1,x2\nb.jpg,1,2,3", "entry 1: no 'y2'"),
        ("b.csv", "picture,x1,y1,x2,y2\nb.jpg,1,2,3,4\nb.jpg,9,2,3,4", "entry 2: .*x1 < x2"),
        ("b.csv", "picture,x1,y1,x2,y2\nb.jpg,1,2,,4", "entry 1"),
        ("b.csv", "picture,x1,y1,x2,y2,side\nb.jpg,1,2,3,4,up", "entry 1: no 'up'"),
        ("b.json", '[{"picture": "b.jpg", "box": [1, 2, 3]}]', "entry 1"),
        ("b.json", "[5]", "entry 1"),
        ("b.json", "{}", "expected a list"),
        ("b.json", "[", "no JSON"),
        ("b.json", "[" * 10**5, "no JSON"),
        ("b.json", '[{"picture": "b.jpg", "box": [1, 2, 3, 1' + "0" * 400 + "]}]", "entry 1"),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, name, text, word):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=rf"b\.\w+: .*{word}|b\.\w+: {word}"):
        read_boxes(tmp_path / name)
    with pytest.raises(UserError, match="cannot be read"):
        read_boxes(tmp_path / "missing.csv")


def test_boxes_go_to_the_pictures_of_their_name():
    box = Box(np.array([1.0, 2, 3, 4]))
    paths = [Path("x/b.jpg"), Path("y/b.jpg"), Path("c.jpg")]
    found = boxes_of([("b.jpg", box), ("y/b.jpg", box), ("./c.jpg", box)], paths)
    assert [len(found[path]) for path in paths] == [1, 2, 1]
    assert len(boxes_of([(str(Path("c.jpg").absolute()), box)], paths)[paths[2]]) == 1
    with pytest.raises(UserError, match=r"other/b\.jpg is none"):
        boxes_of([("other/b.jpg", box)], paths)
